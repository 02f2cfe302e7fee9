from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from resvision.batch import IGNORE_INDEX
from resvision.data.errors import DataError
from resvision.data.mask_folder import MaskFolder
from resvision.data.pairing import Folders
from resvision.data.transforms import Strength
from tests.shared_data import shared_data

_FOLDERS = Folders("pictures", "masks")
_CAMVID = ["sky", "building", "pole", "road", "pavement", "tree", "signsymbol", "fence", "car"]
_CAMVID += ["pedestrian", "bicyclist"]


def _write(root: Path, name: str, size: tuple[int, int] = (20, 30), value: int = 1) -> None:
    """Write a picture with its number in every pixel, and a mask of one value."""
    for folder in ("pictures", "masks"):
        (root / folder).mkdir(exist_ok=True)
    assert cv2.imwrite(str(root / "pictures" / f"{name}.png"), np.full((*size, 3), int(name), np.uint8))
    assert cv2.imwrite(str(root / "masks" / f"{name}.png"), np.full(size, value, np.uint8))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(10):
        _write(tmp_path, str(number))
    return tmp_path


def _data(root: Path, **options: Any) -> MaskFolder:
    defaults: dict[str, Any] = {"class_names": ["sky", "road"], "train": _FOLDERS, "val": _FOLDERS}
    return MaskFolder(str(root), **defaults | {"augmentation": "none", "num_workers": 0} | options)


def test_datamodule__knows_classes_and_channels_before_setup(root: Path) -> None:
    data = _data(root, in_channels=1)
    assert (data.class_names, data.num_classes, data.in_channels) == (("sky", "road"), 2, 1)


def test_batches__hold_the_files_that_their_indices_name(root: Path) -> None:
    data = _data(root, batch_size=4)
    for loader, split in ((data.train_dataloader(), "train"), (data.val_dataloader(), "val")):
        for batch in loader:
            assert batch["image"].shape == (len(batch["index"]), 3, 20, 30)
            for image, index in zip(batch["image"], batch["index"].tolist(), strict=True):
                name = data.dataset(split).name(index)  # type: ignore[arg-type]
                assert name == str(root / "pictures" / f"{image.max()}.png")


def test_grey__is_read_as_one_channel(root: Path) -> None:
    batch = next(iter(_data(root, in_channels=1).val_dataloader()))
    assert batch["image"].shape == (8, 1, 20, 30)


def test_evaluation__takes_pictures_of_different_sizes_one_by_one(root: Path) -> None:
    _write(root, "77", size=(11, 13))
    shapes = [tuple(batch["image"].shape) for batch in _data(root, crop_size=(16, 16)).val_dataloader()]
    assert shapes == [(1, 3, 20, 30)] * 8 + [(1, 3, 11, 13)] + [(1, 3, 20, 30)] * 2


def test_training__crops_pictures_of_different_sizes(root: Path) -> None:
    _write(root, "77", size=(11, 13))
    shapes = {batch["image"].shape for batch in _data(root, crop_size=(16, 18), batch_size=2).train_dataloader()}
    assert shapes == {(2, 3, 16, 18)}


def test_training__asks_for_a_crop_where_sizes_differ(root: Path) -> None:
    _write(root, "77", size=(11, 13))
    with pytest.raises(DataError, match=r"training pictures differ in size; set crop_size, such as \[256, 256\]$"):
        _data(root).setup("fit")


def test_val_none__holds_out_a_part_of_train_that_is_the_same_for_every_seed(root: Path) -> None:
    def names(seed: int, split: Any) -> set[str]:
        dataset = _data(root, val=None, val_fraction=0.3, seed=seed).dataset(split)
        return {dataset.name(index) for index in range(len(dataset))}

    train, val = names(0, "train"), names(0, "val")
    assert (len(train), len(val), len(train | val)) == (7, 3, 10)
    assert names(1, "val") == val


def test_val_none__needs_pictures_to_hold_out(tmp_path: Path) -> None:
    _write(tmp_path, "1")
    with pytest.raises(DataError, match="1 pictures are too few to hold out 1"):
        _data(tmp_path, val=None).setup("fit")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_class_names__come_from_a_text_file(root: Path, encoding: str) -> None:
    (root / "names.txt").write_text("sky\n\n road \n", encoding=encoding)
    assert _data(root, class_names="names.txt").class_names == ("sky", "road")


def test_class_names__of_another_encoding_are_one_line(root: Path) -> None:
    (root / "names.txt").write_text("Straße", encoding="latin-1")
    with pytest.raises(DataError, match=r"names\.txt: not a text file that can be read: .*; save it as UTF-8"):
        _data(root, class_names="names.txt")


@pytest.mark.parametrize("name", ["../names.txt", "/etc/hostname"])
def test_class_names__lie_below_the_root(root: Path, name: str) -> None:
    (root.parent / "names.txt").write_text("sky\nroad\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"class_names: the file name .* is none below"):
        _data(root, class_names=name)
    with pytest.raises(DataError, match=r"class_names: the file name 'ffff.* is longer than that of any file"):
        _data(root, class_names="f" * 256)


def test_values_and_colours__reach_the_batches(root: Path) -> None:
    for number in range(10):
        colour = np.full((20, 30, 3), (128, 64, 128), np.uint8)
        colour[:5] = 0
        cv2.imwrite(str(root / "masks" / f"{number}.png"), colour)
    data = _data(root, mask_colors={"road": (128, 64, 128), "ignore": (0, 0, 0)})
    mask = next(iter(data.val_dataloader()))["mask"]
    assert mask[:, :5].unique().tolist() == [IGNORE_INDEX]
    assert mask[:, 5:].unique().tolist() == [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_names": "none.txt"}, r"none\.txt: there is no such file; class_names is a list, or a text file"),
        ({"class_names": []}, "class_names has 0 names; give 1 to 255"),
        ({"class_names": [str(n) for n in range(256)]}, "class_names has 256 names; give 1 to 255"),
        ({"class_names": ["sky", "sky"]}, "class_names holds 'sky' twice"),
        ({"class_names": ["sky", "ignore"]}, "class_names holds 'ignore', which stands for no class"),
        ({"val_fraction": 1.0}, r"val_fraction is 1\.0"),
        ({"crop_size": (0, 5)}, r"crop_size is \[0, 5\]"),
    ],
)
def test_options__that_make_no_sense_are_refused(root: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _data(root, **options)


def test_root__that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none: there is no such folder; set root to the folder of the data set$"):
        _data(tmp_path / "none")


def test_split__that_is_not_named_is_an_error_when_it_is_needed(root: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no test split; name its folders, as in test: \{images: \.\., masks: \.\.\}$"
    ):
        _data(root).setup("test")


def test_sizes_that_differ__are_found_before_training(root: Path) -> None:
    cv2.imwrite(str(root / "masks" / "3.png"), np.zeros((20, 29), np.uint8))
    with pytest.raises(
        DataError, match=r"3\.png: 29x20 pixels, but 30x20 in its picture 3\.png; save both at one size$"
    ):
        _data(root).setup("fit")


@pytest.mark.parametrize("folder", ["pictures", "masks"])
def test_empty_file__is_found_before_training(root: Path, folder: str) -> None:
    (root / folder / "5.png").write_bytes(b"")
    with pytest.raises(DataError, match=rf"{folder}/5\.png: the file is empty; replace or remove it$"):
        _data(root).setup("fit")


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_file__is_named_by_one_line_from_any_process(root: Path, workers: int) -> None:
    path = root / "pictures" / "5.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError) as caught:
        list(_data(root, num_workers=workers).val_dataloader())
    assert str(caught.value) == f"{path}: the picture is damaged or cut short; replace or remove it"


def test_value_that_is_no_class__is_named_by_one_line_from_a_worker(root: Path) -> None:
    _write(root, "5", value=9)
    with pytest.raises(DataError) as caught:
        list(_data(root, num_workers=1).val_dataloader())
    path = root / "masks" / "5.png"
    assert str(caught.value) == f"{path}: value 9 is no class (0 to 1); map it, as in mask_values: {{9: road}}"


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (("x.jpg", "x_L.png"), Folders("both", "both")),
        (("x.jpg", "x.png"), Folders("both", "both/")),
        (("x.jpg", "y.jpg"), Folders("both/*.jpg", "both/*.jpg")),
        (("x.jpg", "y.jpg"), Folders("both/*.jpg", "both")),
    ],
)
@pytest.mark.parametrize("val", [None, _FOLDERS])
def test_picture__is_never_its_own_mask(
    names: tuple[str, ...], folders: Folders, val: Folders | None, root: Path
) -> None:
    (root / "both").mkdir()
    for name in names:
        cv2.imwrite(str(root / "both" / name), np.zeros((20, 30), np.uint8))
    with pytest.raises(DataError) as caught:
        _data(root, train=folders, val=val).setup("fit")
    assert str(caught.value) == (
        f"{root / folders.masks}: pictures are taken for their own masks; where both lie together, tell them apart by "
        'patterns, as in train: {images: "photos/*.jpg", masks: "photos/*_mask.png"}'
    )


def test_camvid__loads_with_its_official_split() -> None:
    data = MaskFolder(
        str(shared_data("camvid")),
        _CAMVID,
        train=Folders("train", "trainannot"),
        val=Folders("val", "valannot"),
        test=Folders("test", "testannot"),
        mask_values={11: "ignore"},
        crop_size=(64, 80),
        num_workers=0,
    )
    data.setup()
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [367, 101, 233]
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (8, 3, 64, 80)
    batch = next(iter(data.val_dataloader()))
    assert batch["mask"].shape == (8, 360, 480)
    assert set(batch["mask"].unique().tolist()) <= {*range(11), IGNORE_INDEX}
    raw = cv2.imread(str(shared_data("camvid", "valannot", "0016E5_07959.png")), cv2.IMREAD_UNCHANGED)
    assert raw is not None
    assert torch.equal(batch["mask"][0] == IGNORE_INDEX, torch.from_numpy(raw == 11))


def test_chasedb1__loads_with_two_kinds_of_mask_beside_the_pictures() -> None:
    data = MaskFolder(
        str(shared_data("chasedb1")),
        ["background", "vessel"],
        train=Folders("Image_0*.jpg", "Image_0*_1stHO.png"),
        test=Folders("Image_1*.jpg", "Image_1*_1stHO.png"),
        crop_size=(64, 64),
        num_workers=0,
    )
    data.setup()
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [16, 2, 10]
    sample = data.dataset("test")[0]
    assert sample["image"].shape == (960, 999, 3)
    assert 0.02 < sample["mask"].mean() < 0.2  # Vessels are about a tenth of a retina.
    assert sample["mask"].max() == 1


@pytest.mark.parametrize("strength", ["light", "strong"])
def test_named_strengths__without_a_crop_keep_the_size(root: Path, strength: Strength) -> None:
    data = _data(root, augmentation=strength, batch_size=3)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (3, 3, 20, 30)
    assert batch["mask"].shape == (3, 20, 30)
