import shutil
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import cv2
import numpy as np
import pytest
import torch

from resvision.data.base import Split
from resvision.data.errors import DataError
from resvision.data.image_folder import ImageFolder
from tests.shared_data import shared_data


def _write(folder: Path, count: int = 5, first: int = 0, size: tuple[int, int] = (20, 30)) -> None:
    """Write pictures of one colour each: their number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        assert cv2.imwrite(str(folder / f"{number}.png"), np.full((*size, 3), number, np.uint8))


def _data(root: Path, **options: Any) -> ImageFolder:
    defaults: dict[str, Any] = {"image_size": 16, "augmentation": "none", "num_workers": 0}
    return ImageFolder(str(root), **defaults | options)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Folders of classes, without splits."""
    _write(tmp_path / "cat", 10)
    _write(tmp_path / "dog", 20, first=100)
    return tmp_path


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """Folders of splits with folders of classes."""
    for split, first in (("train", 0), ("val", 50), ("test", 100)):
        _write(tmp_path / split / "cat", 3, first)
        _write(tmp_path / split / "dog", 4, first + 10)
    return tmp_path


def _names(data: ImageFolder, split: Any) -> list[str]:
    dataset = data.dataset(split)
    return [dataset.name(index) for index in range(len(dataset))]


def test_datamodule__knows_classes_and_channels_before_setup(classes: Path) -> None:
    data = _data(classes, in_channels=1)
    assert (data.class_names, data.num_classes, data.in_channels) == (("cat", "dog"), 2, 1)


def test_batches__hold_the_files_and_classes_that_their_indices_name(splits: Path) -> None:
    data = _data(splits, batch_size=4)
    data.setup()
    loaders: list[tuple[Any, Split]] = [
        (data.train_dataloader(), "train"),
        (data.val_dataloader(), "val"),
        (data.test_dataloader(), "test"),
    ]
    for loader, split in loaders:
        for batch in loader:
            assert batch["image"].shape[1:] == (3, 16, 16)
            for image, label, index in zip(batch["image"], batch["label"], batch["index"].tolist(), strict=True):
                path = splits / split / data.class_names[label] / f"{image.max()}.png"
                assert data.dataset(split).name(index) == str(path)
    assert [len(data.dataset(split)) for _, split in loaders] == [7, 7, 7]


def test_folders_of_classes__are_divided_class_by_class_the_same_for_every_seed(classes: Path) -> None:
    data = _data(classes, test_fraction=0.1)
    parts = {split: _names(data, split) for split in ("train", "val", "test")}
    assert {split: len(names) for split, names in parts.items()} == {"train": 21, "val": 6, "test": 3}
    assert len({name for names in parts.values() for name in names}) == 30
    assert sum("/cat/" in name for name in parts["val"]) == 2
    assert _names(_data(classes, test_fraction=0.1, seed=1), "val") == parts["val"]


def test_train_pictures__are_some_of_each_class_and_more_of_them_hold_the_fewer(classes: Path) -> None:
    whole = _data(classes, test_fraction=0.1)
    parts = {count: _data(classes, test_fraction=0.1, train_pictures=count) for count in (2, 5, 100)}
    names = {count: set(_names(data, "train")) for count, data in parts.items()}
    assert [sum(f"/{kind}/" in name for name in names[5]) for kind in ("cat", "dog")] == [5, 5]
    assert [sum(f"/{kind}/" in name for name in names[2]) for kind in ("cat", "dog")] == [2, 2]
    assert names[2] < names[5] < names[100] == set(_names(whole, "train"))
    assert _names(parts[2], "val") == _names(whole, "val")


def test_val__is_held_out_where_it_has_no_folder(splits: Path) -> None:
    for path in sorted((splits / "val").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (splits / "val").rmdir()
    data = _data(splits)
    assert [len(_names(data, split)) for split in ("train", "val", "test")] == [5, 2, 7]


@pytest.mark.parametrize("name", ["valid", "validation", "Val", "Validation"])
def test_val__may_be_called_otherwise(splits: Path, name: str) -> None:
    (splits / "val").rename(splits / name)
    assert all(f"/{name}/" in path for path in _names(_data(splits), "val"))


def test_val__of_two_names_is_ambiguous(splits: Path) -> None:
    (splits / "valid").mkdir()
    with pytest.raises(DataError, match=r"both val and valid are there; keep one of them$"):
        _data(splits)


@pytest.mark.parametrize("name", ["Train", "training", "Training", "TRAIN"])
def test_train__may_be_called_otherwise(splits: Path, name: str) -> None:
    (splits / "train").rename(splits / name)
    (splits / "test").rename(splits / "Testing")
    data = _data(splits)
    assert data.class_names == ("cat", "dog")
    assert all(f"/{name}/" in path for path in _names(data, "train"))
    assert all("/Testing/" in path for path in _names(data, "test"))


def test_splits__without_classes_are_no_classes(tmp_path: Path) -> None:
    for name in ("Training", "test"):
        _write(tmp_path / name, 5)
    with pytest.raises(DataError, match=r"Training, test are no classes; put a folder for each class into those of"):
        _data(tmp_path)


def test_class_of_trains__is_no_split(classes: Path) -> None:
    _write(classes / "train", 5)
    assert _data(classes).class_names == ("cat", "dog", "train")


def test_pictures__are_found_in_folders_within_and_hidden_ones_are_not(splits: Path) -> None:
    _write(splits / "train" / "cat" / "monday", 1, first=77)
    _write(splits / "train" / "cat" / ".cache", 1, first=78)
    (splits / "train" / "cat" / "notes.txt").touch()
    (splits / "train" / ".ipynb_checkpoints").mkdir()
    names = _names(_data(splits), "train")
    assert str(splits / "train" / "cat" / "monday" / "77.png") in names
    assert len(names) == 8


def test_pictures__of_any_size_and_depth_are_batched(classes: Path) -> None:
    for number, size in enumerate([(1, 1), (1, 500), (300, 7)]):
        _write(classes / "cat", 1, first=200 + number, size=size)
    wide = np.full((9, 9, 3), 257 * 203, np.uint16)
    assert cv2.imwrite(str(classes / "cat" / "203.png"), wide)
    data = _data(classes, batch_size=64, augmentation="light")
    for loader in (data.train_dataloader(), data.val_dataloader()):
        assert all(batch["image"].shape[1:] == (3, 16, 16) for batch in loader)


def test_root__that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none: there is no such folder; set root to the folder of the data set$"):
        _data(tmp_path / "none")


def test_root__without_folders_of_classes_is_an_error(tmp_path: Path) -> None:
    _write(tmp_path, 3)
    with pytest.raises(DataError, match=r"there are no folders; put the pictures of each class into one of its own$"):
        _data(tmp_path)


@pytest.mark.parametrize("split", ["", "train"])
def test_root__with_one_class_is_an_error(tmp_path: Path, split: str) -> None:
    _write(tmp_path / split / "cat", 3)
    with pytest.raises(DataError, match="there is only the folder cat; put the pictures of each class into one of its"):
        _data(tmp_path)


def test_class__without_pictures_is_an_error(classes: Path) -> None:
    (classes / "emu").mkdir()
    (classes / "emu" / "a.svg").touch()
    with pytest.raises(DataError, match=r"emu: there are no pictures of this class \(\.bmp .*\); add some, or take"):
        _data(classes).setup("fit")


def test_class__too_small_to_hold_out_is_an_error(classes: Path) -> None:
    _write(classes / "emu", 1)
    with pytest.raises(DataError, match="emu: 1 pictures are too few to hold out 1 for val; add pictures, or take"):
        _data(classes).setup("fit")
    _write(classes / "emu", 2)
    with pytest.raises(DataError, match="emu: 2 pictures are too few to hold out 1 for val and 1 for test"):
        _data(classes, test_fraction=0.1).setup("fit")


@pytest.mark.parametrize(("there", "lacking"), [("train", "val"), ("val", "train")])
def test_class__of_one_split_alone_is_an_error(splits: Path, there: str, lacking: str) -> None:
    _write(splits / there / "emu", 3)
    message = rf"{there}/emu: there is no folder of this class in .*{lacking}; both need the same classes$"
    with pytest.raises(DataError, match=message):
        _data(splits).setup("fit")


def test_classes__of_one_split_alone_are_counted(splits: Path) -> None:
    for name in ("emu", "fox", "gnu"):
        _write(splits / "test" / name, 3)
    with pytest.raises(DataError, match=r"test/emu: .* both need the same classes, and 2 more are missing there$"):
        _data(splits).setup("test")


def test_test__that_is_not_there_is_an_error_when_it_is_needed(classes: Path) -> None:
    with pytest.raises(DataError, match="has no test split; put one into a folder `test` beside `train`, or set test_"):
        _data(classes).setup("test")


def test_broken_file__is_named_by_one_line_from_a_worker(splits: Path) -> None:
    path = splits / "val" / "cat" / "51.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError) as caught:
        list(_data(splits, num_workers=1).val_dataloader())
    assert str(caught.value) == f"{path}: the picture is damaged or cut short; replace or remove it"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_fraction": 0.0}, r"val_fraction is 0\.0 and test_fraction 0\.0; both are parts of 1"),
        ({"test_fraction": -0.1}, r"test_fraction -0\.1"),
        ({"val_fraction": 0.6, "test_fraction": 0.4}, "leave something to train on"),
        ({"train_pictures": 0}, "train_pictures is 0; use null for all"),
        ({"image_size": 0}, "image_size must be a whole number of at least 1, got 0"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_options__that_make_no_sense_are_refused(classes: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _data(classes, **options)


def _zip(folder: Path, *archives: str, below: str = "") -> None:
    """Pack a folder of classes into archives beside it, one picture to each in turn, and remove the folder."""
    pictures = sorted(folder.rglob("*.png"))
    for number, name in enumerate(archives):
        with ZipFile(folder.parent / name, "w") as archive:
            for path in pictures[number :: len(archives)]:
                archive.write(path, below + path.relative_to(folder).as_posix())
    shutil.rmtree(folder)


@pytest.mark.parametrize("below", ["", "{}/", "data/{}/"])
def test_archives__give_the_batches_of_the_folders_that_they_hold(splits: Path, tmp_path: Path, below: str) -> None:
    def batches() -> list[Any]:
        data = _data(splits, augmentation="light", batch_size=4, val_fraction=0.4)
        return [*data.train_dataloader(), *data.val_dataloader(), *data.test_dataloader()]

    shutil.rmtree(splits / "val")
    expected = batches()
    _zip(splits / "train", "train_1.zip", "train_2.zip", below=below.format("train"))
    _zip(splits / "test", "test.zip", below=below.format("test"))
    for batch, wanted in zip(batches(), expected, strict=True):
        assert all(torch.equal(batch[key], wanted[key]) for key in wanted)


def test_archives__are_read_by_workers(splits: Path) -> None:
    _zip(splits / "train", "train.zip")
    data = _data(splits, num_workers=2, batch_size=2)
    seen = [image.max().item() for batch in data.train_dataloader() for image in batch["image"]]
    assert set(seen) <= {0, 1, 2, 10, 11, 12, 13}
    assert len(seen) == 6
    assert "train.zip/dog/10.png" in _names(data, "train")[3]


def test_folder__stands_before_its_archive(splits: Path) -> None:
    (splits / "train.zip").write_bytes(b"of no use any more")
    (splits / "notes.zip").write_bytes(b"of no use at all")
    assert len(_names(_data(splits), "train")) == 7


def test_archive__alone_holds_out_its_validation(splits: Path) -> None:
    _zip(splits / "train", "train.zip")
    shutil.rmtree(splits / "val")
    data = _data(splits, val_fraction=0.4)
    assert [len(_names(data, split)) for split in ("train", "val", "test")] == [4, 3, 7]


def test_archive__of_one_class_is_an_error(tmp_path: Path) -> None:
    _write(tmp_path / "train" / "cat", 3)
    _zip(tmp_path / "train", "train.zip", below="train/")
    with pytest.raises(DataError, match=r"train\.zip: there is only the folder cat; put the pictures of each class in"):
        _data(tmp_path)


def test_archives__that_hold_one_picture_twice_are_an_error(splits: Path) -> None:
    _zip(splits / "train", "train_1.zip")
    shutil.copy(splits / "train_1.zip", splits / "train_2.zip")
    with pytest.raises(DataError, match=r"train_2\.zip/cat/0\.png: .*train_1\.zip/cat/0\.png has the same name; keep"):
        _data(splits)


def test_archives__with_other_classes_than_train_are_an_error(splits: Path) -> None:
    _write(splits / "test" / "emu", 3)
    _zip(splits / "test", "test_1.zip", "test_2.zip")
    with pytest.raises(DataError, match=r"test_1\.zip and the others, folder emu: there is no folder of this class in"):
        _data(splits).setup("test")


def test_archives__of_cifar10_are_read_in_time() -> None:
    root = shared_data("cifar10")
    data = ImageFolder(str(root), image_size=32, val_fraction=0.1, augmentation="none", num_workers=0)
    assert " ".join(data.class_names) == "airplane automobile bird cat deer dog frog horse ship truck"
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [45000, 5000, 1000]
    counts = torch.bincount(torch.cat([batch["label"] for batch in data.test_dataloader()]))
    assert counts.sum() == 1000
