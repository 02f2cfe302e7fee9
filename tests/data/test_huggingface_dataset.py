import sys
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from resvision.data.errors import DataError
from resvision.data.huggingface_dataset import HuggingFaceDataset


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of classes; the grey of a picture is its number, and odd ones are dogs."""
    library = pytest.importorskip("datasets", reason='needs the library datasets: pip install "resvision[huggingface]"')
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    library.disable_progress_bars()
    for split, numbers in (("train", range(20)), ("test", range(20, 26))):
        for number in numbers:
            folder = tmp_path / "data" / split / ("dog" if number % 2 else "cat")
            folder.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(folder / f"{number}.png"), np.full((20, 30, 3), number, np.uint8))
    return tmp_path / "data"


def _data(path: Path, **options: Any) -> HuggingFaceDataset:
    defaults: dict[str, Any] = {"image_size": 16, "augmentation": "none", "num_workers": 0, "batch_size": 32}
    return HuggingFaceDataset(str(path), **defaults | options)


def _saved(path: Path, **columns: list[Any]) -> Path:
    """Save a table whose pictures are greys of their numbers."""
    import datasets

    count = len(next(iter(columns.values())))
    pictures = [{"bytes": cv2.imencode(".png", np.full((9, 9, 3), n, np.uint8))[1].tobytes()} for n in range(count)]
    table = datasets.Dataset.from_dict({"image": pictures, **columns})
    table.cast_column("image", datasets.Image()).save_to_disk(str(path))
    return path


def test_folder__is_divided_and_read_as_it_is(root: Path) -> None:
    data = _data(root)
    assert (data.class_names, data.in_channels) == (("cat", "dog"), 3)
    data.setup()
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [16, 4, 6]
    seen = []
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        (batch,) = loader
        values = batch["image"].amax((1, 2, 3)).tolist()
        assert batch["label"].tolist() == [value % 2 for value in values]
        seen += values
    assert sorted(seen) == list(range(26))


def test_saved_table__of_texts_or_numbers_has_them_for_classes(root: Path, tmp_path: Path) -> None:
    for kinds in (["cat", "dog"], [3, 7]):
        path = _saved(tmp_path / str(kinds[0]), kind=[kinds[n % 2] for n in range(12)])
        data = _data(path, label_column="kind")
        assert data.class_names == tuple(map(str, kinds))
        (batch,) = data.train_dataloader()
        assert batch["label"].tolist() == [value % 2 for value in batch["image"].amax((1, 2, 3)).tolist()]


def test_saved_table__of_lists_has_many_labels(root: Path, tmp_path: Path) -> None:
    data = _data(
        _saved(tmp_path / "many", tags=[["a"] * (n & 1) + ["b"] * (n >> 1 & 1) for n in range(12)]), label_column="tags"
    )
    (batch,) = data.train_dataloader()
    assert batch["label"].dtype == torch.float32
    values = batch["image"].amax((1, 2, 3)).tolist()
    assert batch["label"].tolist() == [[float(value & 1), float(value >> 1 & 1)] for value in values]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_column": "photo"}, "there is no column 'photo', only image, label; set image_column and label_column"),
        ({"image_column": "label"}, "column 'label' holds no pictures; set image_column"),
        ({"val_fraction": 0.0}, r"val_fraction is 0\.0 and test_fraction"),
    ],
)
def test_options__that_do_not_fit_are_refused(root: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _data(root, **options)


def test_broken_picture__is_named_or_skipped(root: Path, tmp_path: Path) -> None:
    (root / "train" / "cat" / "4.png").write_bytes(b"no picture")
    data = _data(root, batch_size=1)
    with pytest.raises(DataError, match=r"not a picture that can be read"):
        list(chain(data.train_dataloader(), data.val_dataloader()))
    data = _data(root, on_bad_image="skip", val_fraction=0.1)
    data.setup("fit")
    assert sum(len(data.dataset(split)) for split in ("train", "val")) == 19


def test_path__that_is_no_data_set_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: the library datasets cannot load it \(.*\); check path and name$"):
        _data(tmp_path / "empty")


def test_label__that_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    import datasets

    table = datasets.load_from_disk(str(_saved(tmp_path / "one", label=[0, 1, 0, 1])))
    table = table.cast_column("label", datasets.ClassLabel(names=["cat", "dog"]))
    hidden = table.remove_columns("label").add_column("label", [-1] * 4)
    hidden = hidden.cast_column("label", datasets.ClassLabel(names=["cat", "dog"]))
    datasets.DatasetDict({"train": table, "test": hidden}).save_to_disk(str(tmp_path / "both"))
    with pytest.raises(
        DataError, match=r"both/test/0: the label is (-1|None), no class of the training split; choose a sp"
    ):
        _data(tmp_path / "both").setup("test")


@pytest.mark.parametrize("labels", [["a", "b", None] * 4, [["a"], ["b"], None] * 4, [["a"], ["b"], ["a", None]] * 4])
def test_label__that_is_missing_for_training_is_named(root: Path, tmp_path: Path, labels: list[Any]) -> None:
    data = _data(_saved(tmp_path / "none", label=labels))
    assert data.class_names == ("a", "b")
    with pytest.raises(DataError, match=r"none/train/2: the label is .*None.*, no class of .*, or remove the row$"):
        data.setup("fit")


@pytest.mark.parametrize("column", ["image", "objects"])
def test_column__of_other_things_than_labels_is_named(root: Path, tmp_path: Path, column: str) -> None:
    path = _saved(tmp_path / "boxes", objects=[[{"box": [1.0, 2.0]}]] * 4)
    with pytest.raises(
        DataError, match=rf"boxes: column '{column}' holds neither classes nor lists of them; set label_column$"
    ):
        _data(path, label_column=column)


@pytest.mark.parametrize("nothing", [None, {"bytes": None, "path": None}])
def test_picture__that_is_missing_is_named_or_skipped(root: Path, tmp_path: Path, nothing: Any) -> None:
    import datasets

    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = datasets.load_from_disk(str(_saved(tmp_path / "all", label=["a", "b"] * 6)))
    rows = table.cast_column("image", datasets.Image(decode=False)).to_list()
    rows[4]["image"] = nothing
    (tmp_path / "some").mkdir()
    schema = table.features.arrow_schema  # whose notes say that the column holds pictures
    parquet.write_table(arrow.Table.from_pylist(rows, schema), tmp_path / "some" / "train.parquet")
    with pytest.raises(DataError, match=r"some/train/00004: there is no picture in this row; remove it$"):
        list(chain(_data(tmp_path / "some").train_dataloader(), _data(tmp_path / "some").val_dataloader()))
    data = _data(tmp_path / "some", on_bad_image="skip", skip_budget=0.1)
    data.setup("fit")
    assert sum(len(data.dataset(split)) for split in ("train", "val")) == 11


def test_library__that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r'needs the library datasets, .*: pip install "resvision\[huggingface\]"$'):
        HuggingFaceDataset("mnist")
