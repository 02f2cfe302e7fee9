from pathlib import Path

from resvision.data.voc import VocDetection
from tests.data.box_folders import write_voc_set
from tests.shared_data import shared_data


def test_bccd__is_loaded_with_defaults_only() -> None:
    data = VocDetection(str(shared_data("bccd")), num_workers=0)
    assert data.class_names == ("Platelets", "RBC", "WBC")
    data.setup("fit")
    batch = next(iter(data.val_dataloader()))
    assert batch["image"].shape == (8, 3, 480, 640)
    assert batch["size"].tolist() == batch["original_size"].tolist() == [[480, 640]] * 8


def test_lists_and_classes__may_be_named(tmp_path: Path) -> None:
    lists = write_voc_set(tmp_path) / "ImageSets" / "Main"
    (lists / "mine.txt").write_text("a\nb\n", encoding="utf-8")
    (lists / "rest.txt").write_text("a\n", encoding="utf-8")
    data = VocDetection(str(tmp_path), class_names=["dog", "cat"], train="mine", val="rest", num_workers=0)
    assert data.class_names == ("dog", "cat")
    assert (len(data.dataset("train")), len(data.dataset("val"))) == (2, 1)
    assert data.dataset("val")[0]["labels"].tolist() == [1, 0]
