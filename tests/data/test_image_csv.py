import csv
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from resvision.data.errors import DataError
from resvision.data.image_csv import Columns, ImageCSV
from tests.shared_data import shared_data


def _data(root: Path, header: str, rows: Sequence[Sequence[object]], **options: Any) -> ImageCSV:
    """Write a table, and a picture of the grey of its number for each line: the path ends in the number."""
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    for number, row in enumerate(rows):
        assert cv2.imwrite(str(root / str(row[0])), np.full((20, 30, 3), number, np.uint8))
    defaults: dict[str, Any] = {"image_size": 16, "augmentation": "none", "num_workers": 0}
    return ImageCSV(str(root), **defaults | options)


def _numbers(data: ImageCSV, split: Any) -> list[int]:
    dataset = data.dataset(split)
    return [int(Path(dataset.name(index)).stem) for index in range(len(dataset))]


def test_batches__hold_pictures_and_classes_of_the_table(tmp_path: Path) -> None:
    rows = [(f"{n}.png", "dog" if n % 3 else "cat", ("train", "val", "test")[n % 2 + (n == 5)]) for n in range(12)]
    data = _data(tmp_path, "path,label,split", rows, batch_size=4)
    assert (data.class_names, data.num_classes, data.in_channels) == (("cat", "dog"), 2, 3)
    data.setup()
    assert [_numbers(data, split) for split in ("val", "test")] == [[1, 3, 7, 9, 11], [5]]
    for loader in (data.train_dataloader(), data.val_dataloader()):
        for batch in loader:
            assert batch["image"].shape[1:] == (3, 16, 16)
            assert batch["label"].dtype == torch.int64
            assert batch["label"].tolist() == [int(value % 3 > 0) for value in batch["image"].amax((1, 2, 3))]


def test_batches__of_many_labels_mark_each_class(tmp_path: Path) -> None:
    rows = [(f"{n}.png", ";".join(name for name, on in (("cat", n & 1), ("dog", n & 2)) if on)) for n in range(20)]
    data = _data(tmp_path, "path,labels", rows, class_names=["dog", "emu", "cat"], batch_size=16)
    batch = next(iter(data.train_dataloader()))
    assert (batch["label"].shape, batch["label"].dtype) == ((16, 3), torch.float32)
    values = batch["image"].amax((1, 2, 3)).tolist()
    assert batch["label"].tolist() == [[float(value >> 1 & 1), 0.0, float(value & 1)] for value in values]
    assert sorted(_numbers(data, "train") + _numbers(data, "val")) == list(range(20))
    assert len(_numbers(data, "val")) == 4


def test_val__is_held_out_class_by_class_the_same_for_every_seed(tmp_path: Path) -> None:
    rows = [(f"{n}.png", "dog" if n % 3 else "cat") for n in range(30)]
    data = _data(tmp_path, "path,label", rows, test_fraction=0.1)
    parts = [_numbers(data, split) for split in ("train", "val", "test")]
    assert sorted(chain(*parts)) == list(range(30))
    assert [Counter(n % 3 > 0 for n in part) for part in parts] == [
        {True: 14, False: 7},
        {True: 4, False: 2},
        {True: 2, False: 1},
    ]
    assert _numbers(_data(tmp_path, "path,label", rows, test_fraction=0.1, seed=1), "val") == parts[1]


@pytest.mark.parametrize("column", ["label", "labels"])
def test_group__never_crosses_the_split(tmp_path: Path, column: str) -> None:
    rows = [(f"{n}.png", "dog" if n % 3 else "cat", f"patient {n // 5}") for n in range(60)]
    data = _data(tmp_path, f"path,{column},group", rows, val_fraction=0.25, test_fraction=0.25)
    parts = [{n // 5 for n in _numbers(data, split)} for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [6, 3, 3]
    assert set.union(*parts) == set(range(12))


def test_groups__too_few_to_hold_out_are_an_error(tmp_path: Path) -> None:
    rows = [(f"{n}.png", "dog" if n % 3 else "cat", "anna") for n in range(9)]
    with pytest.raises(
        DataError, match=r"labels\.csv: 1 pictures or groups are too few to hold out val; add pictures, or"
    ):
        _data(tmp_path, "path,label,group", rows)


def test_picture__alone_in_its_class_trains(tmp_path: Path) -> None:
    rows = [*((f"{n}.png", "dog") for n in range(9)), ("9.png", "emu")]
    data = _data(tmp_path, "path,label", rows)
    assert 9 in _numbers(data, "train")
    assert len(_numbers(data, "val")) == 2


def test_weights__say_how_often_a_picture_is_visited(tmp_path: Path) -> None:
    rows = [(f"{n}.png", "dog" if n % 2 else "cat", "train", n if n < 4 else 0) for n in range(40)]
    rows += [(f"{n}.png", "dog" if n % 2 else "cat", "val", 1) for n in range(40, 44)]
    data = _data(tmp_path, "path,label,split,weight", rows, batch_size=40)
    loader = data.train_dataloader()
    seen: Counter[int] = Counter()
    for epoch in range(30):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        (batch,) = loader
        seen.update(batch["image"].amax((1, 2, 3)).tolist())
    assert set(seen) == {1, 2, 3}
    for number, count in seen.items():
        # Of 1,200 draws; four standard deviations of a binomial are at most 70.
        assert abs(count - 1200 * number / 6) < 70
    assert [len(batch["label"]) for batch in data.val_dataloader()] == [4]
    with pytest.raises(DataError, match="every training picture has weight 0; give some of them more"):
        _data(tmp_path, "path,label,split,weight", [(*row[:3], 0) for row in rows]).dataset("train")


def test_file__that_is_missing_is_named_with_its_line_or_skipped(tmp_path: Path) -> None:
    rows = [(f"{n}.png", "dog" if n % 2 else "cat", "val" if n > 15 else "train") for n in range(20)]
    data = _data(tmp_path, "path,label,split", rows)
    (tmp_path / "3.png").unlink()
    with pytest.raises(DataError, match=r"labels\.csv, line 5: there is no file .*3\.png; paths are relative to root$"):
        data.setup("fit")
    data = ImageCSV(str(tmp_path), on_bad_image="skip", image_size=16)
    data.setup("fit")
    assert 3 not in _numbers(data, "train")
    assert len(_numbers(data, "train")) == 15


@pytest.mark.parametrize(
    ("header", "rows", "options", "message"),
    [
        (
            "path,label",
            [("0.png", "cat"), ("1.png", "dog")],
            {"class_names": ["cat", "emu"]},
            "line 3: class 'dog' is not",
        ),
        ("path,label", [("0.png", "cat"), ("1.png", "cat")], {}, "the only class is cat; a model tells 2 or more from"),
        (
            "path,labels",
            [("0.png", ""), ("1.png", "")],
            {},
            "no picture has a class; a model tells 1 or more from each",
        ),
        ("path,label", [("0.png", "cat"), ("1.png", "dog")], {}, "2 pictures or groups are too few to hold out val"),
        (
            "path,label",
            [("0.png", "a"), ("1.png", "b")],
            {"class_names": ["a", "b", "a"]},
            "class_names holds 'a' twice",
        ),
        (
            "path,label",
            [("0.png", "a"), ("1.png", "b")],
            {"val_fraction": 0.0},
            r"val_fraction is 0\.0 and test_fraction",
        ),
    ],
)
def test_table__that_cannot_be_trained_on_is_refused(
    tmp_path: Path, header: str, rows: list[tuple[str, str]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        _data(tmp_path, header, rows, **options)


def test_test__needs_no_picture_that_was_trained_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [(f"{n}.png", "dog" if n % 2 else "cat", ("train", "val", "test")[n // 4]) for n in range(12)]
    data = _data(tmp_path, "path,label,split", rows)
    for number in range(8):
        (tmp_path / f"{number}.png").unlink()
    data.setup("test")
    assert _numbers(data, "test") == [8, 9, 10, 11]
    assert "test: not compared with the pictures of train, which are not here: " in caplog.text
    with pytest.raises(DataError, match=r"there is no file .*0\.png"):
        data.setup("fit")


def test_test__that_is_not_there_is_an_error_when_it_is_needed(tmp_path: Path) -> None:
    data = _data(tmp_path, "path,label", [(f"{n}.png", "dog" if n % 2 else "cat") for n in range(8)])
    with pytest.raises(
        DataError, match="has no test split; name some of its pictures in the column of splits, or set te"
    ):
        data.setup("test")


def test_real_table__of_one_picture_a_class_cannot_be_divided() -> None:
    root = shared_data("imagenet_samples")
    with pytest.raises(DataError, match=r"250 pictures or groups are too few to hold out val"):
        ImageCSV(str(root), columns=Columns(path="file"))


@pytest.mark.parametrize("name", ["../labels.csv", "/etc/hostname"])
def test_table__lies_below_the_root(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"file: the file name .* is none below"):
        ImageCSV(str(tmp_path / "photos"), file=name)
