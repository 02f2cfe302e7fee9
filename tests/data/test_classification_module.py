import csv
import logging
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from resvision.data import classification_module
from resvision.data.errors import DataError
from resvision.data.image_folder import ImageFolder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eight pictures of noise for each of two classes, and two of each to validate."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 2)):
        for name in ("cat", "dog"):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                assert cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (20 + number, 30, 3)))
    return tmp_path / "data"


def _data(root: Path, **options: Any) -> ImageFolder:
    return ImageFolder(str(root), **{"image_size": 16, "batch_size": 3, "num_workers": 0} | options)


def _break(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def _epochs(data: ImageFolder) -> list[dict[str, torch.Tensor]]:
    loader = data.train_dataloader()
    batches = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        batches += [*loader, *data.val_dataloader()]
    return batches


@pytest.mark.parametrize("workers", [0, 2])
def test_kept_pictures__give_exactly_the_same_batches(root: Path, workers: int) -> None:
    options = {"augmentation": "strong", "num_workers": workers}
    expected = _epochs(_data(root, keep_decoded=0.0, **options))
    for batch, wanted in zip(_epochs(_data(root, keep_decoded=0.1, **options)), expected, strict=True):
        assert all(torch.equal(batch[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("workers", [0, 2])
def test_kept_pictures__are_not_read_again(root: Path, workers: int) -> None:
    data = _data(root, num_workers=workers, batch_size=16)
    train, val = data.train_dataloader(), data.val_dataloader()
    first = [*train, *val]
    shutil.rmtree(root)
    assert all(torch.equal(one["image"], two["image"]) for one, two in zip([*train, *val], first, strict=True))


@pytest.mark.parametrize(("least", "batches"), [(1, 5), (5, 5), (6, 10), (11, 16)])
def test_min_batches__goes_through_few_pictures_several_times(root: Path, least: int, batches: int) -> None:
    data = _data(root, min_batches=least)
    loader = data.train_dataloader()
    assert len(loader) == len(list(loader)) == batches
    assert len(list(data.val_dataloader())) == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_min_batches__puts_epochs_together(root: Path, workers: int) -> None:
    options = {"augmentation": "strong", "batch_size": 4}
    loader = _data(root, **options).train_dataloader()
    expected = []
    for epoch in (2, 3):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        expected += list(loader)
    data = _data(root, min_batches=8, num_workers=workers, **options)
    loader = data.train_dataloader()
    loader.sampler.set_epoch(1)  # type: ignore[attr-defined]
    found = list(loader)
    data.resume_at(1, 6)
    for batch, wanted in zip([*found, *data.train_dataloader()], [*expected, *expected[6:]], strict=True):
        assert all(torch.equal(batch[key], wanted[key]) for key in wanted)
    for number, batch in enumerate(found):
        assert [key.index for key in data.visited(1, number)] == batch["index"].tolist()


def test_pictures__beyond_the_share_of_memory_are_read_again(root: Path) -> None:
    loader = _data(root, keep_decoded=1e-12).train_dataloader()
    assert len(list(loader)) == 5
    shutil.rmtree(root)
    with pytest.raises(DataError, match="there is no such file"):
        list(loader)


def test_bad_picture__is_an_error_by_default(root: Path) -> None:
    _break(root / "train" / "cat" / "5.png")
    with pytest.raises(DataError, match=r"cat/5\.png: the picture is damaged or cut short; replace or remove it$"):
        list(_data(root, batch_size=4).train_dataloader())


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_pictures__are_skipped_said_and_listed(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, workers: int
) -> None:
    bad = [root / "train" / "cat" / "5.png", root / "train" / "dog" / "0.png", root / "val" / "dog" / "1.png"]
    for path in bad:
        _break(path)
    data = _data(root, on_bad_image="skip", skip_budget=0.1, num_workers=workers)
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        default_root_dir=str(tmp_path),
        num_devices=1,
        global_rank=0,
        world_size=1,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )
    with caplog.at_level(logging.WARNING):
        data.setup("fit")
        data.setup("fit")
    reason = f"{bad[0]}: the picture is damaged or cut short; replace or remove it"
    assert caplog.messages[0] == f"train: skipped 2 of 16 pictures; the first: {reason}"
    assert len(caplog.messages) == 2
    header, *rows = _rows(tmp_path / "skipped.csv")
    assert header == ["split", "picture", "reason"]
    assert [row[:2] for row in rows] == [
        [split, str(path)] for split, path in zip(["train", "train", "val"], bad, strict=True)
    ]
    for loader, count in ((data.train_dataloader(), 14), (data.val_dataloader(), 3)):
        assert len(loader.sampler) == count  # type: ignore[arg-type]
        seen = [data.class_names[label] for batch in loader for label in batch["label"]]
        assert set(seen) == {"cat", "dog"}


def test_bad_pictures__that_are_all_of_a_class_are_an_error(root: Path) -> None:
    for path in (root / "val" / "dog").iterdir():
        _break(path)
    with pytest.raises(DataError, match=r"dog/.*; without the bad pictures, val has none of this class$"):
        _data(root, on_bad_image="skip", skip_budget=0.5).setup("fit")


def test_duplicates__across_splits_are_said_and_listed(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(root / "train" / "cat" / "3.png", root / "val" / "dog" / "9.png")
    data = _data(root)
    data.trainer = SimpleNamespace(default_root_dir=str(tmp_path))  # type: ignore[assignment]
    with caplog.at_level(logging.WARNING):
        data.setup("fit")
    same = [str(root / "train" / "cat" / "3.png"), str(root / "val" / "dog" / "9.png")]
    assert caplog.messages == [
        f"val: pictures that are in train too, so that its scores flatter: 1; the first: {' = '.join(same)}"
    ]
    assert _rows(tmp_path / "duplicates.csv") == [
        ["group", "split", "picture"],
        ["1", "train", same[0]],
        ["1", "val", same[1]],
    ]


def test_duplicates__are_not_looked_for_among_too_many_files(
    root: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(root / "train" / "cat" / "3.png", root / "val" / "dog" / "9.png")
    monkeypatch.setattr(classification_module, "MOST_FILES", 10)
    with caplog.at_level(logging.WARNING):
        _data(root).setup("fit")
    (message,) = caplog.messages
    assert re.fullmatch(r"val: not compared with the pictures of train: \d+ files, and up to 10 are", message)


@pytest.mark.parametrize("name", ["skip_budget", "keep_decoded"])
def test_parts__beyond_the_whole_are_refused(root: Path, name: str) -> None:
    for part in (-0.1, 1.5):
        with pytest.raises(ValueError, match=rf"{name} is {part}; it is a part of 1$"):
            _data(root, **{name: part})
