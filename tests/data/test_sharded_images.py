"""Shards that the tests write themselves, as a folder and as a store from which they are fetched."""

import json
import shutil
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from resvision.cli import main
from resvision.data.errors import DataError
from resvision.data.image_folder import ImageFolder
from resvision.data.sharded_images import ShardedImages

CLASSES = ["cat", "dog", "emu"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return 30 pictures in shards of a few pictures each; the grey of a picture is its class and number."""
    pytest.importorskip("litdata", reason="the extra `shards` is not installed")
    from resvision.data.shard_packing import pack

    root = tmp_path_factory.mktemp("packed")
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (root / "pictures" / name).mkdir(parents=True)
        for number in range(10):
            picture = np.full((20, 24, 3), 80 * label + 8 * number, np.uint8)
            picture[:4] = rng.integers(0, 256, (4, 24, 3))  # so that a file has some size
            assert cv2.imwrite(str(root / "pictures" / name / f"{number}.png"), picture)
    (root / "shards").mkdir()
    data = ImageFolder(str(root / "pictures"), val_fraction=0.2)
    assert pack(data, ("train", "val"), root / "shards", shard_bytes=1500) == {"train": 24, "val": 6}
    return root / "shards"


@pytest.fixture(params=["folder", "store"])
def root(request: pytest.FixtureRequest, shards: Path) -> str:
    """Return the data set as a folder, and as something that must be fetched."""
    return str(shards) if request.param == "folder" else f"file://{shards}"


def _data(root: str, cache: Path, **settings: Any) -> ShardedImages:
    defaults: dict[str, Any] = {"image_size": 16, "batch_size": 4, "num_workers": 0, "augmentation": "strong"}
    return ShardedImages(root, class_names=CLASSES, cache_dir=str(cache), **(defaults | settings))


def _epoch(data: ShardedImages, epoch: int) -> list[tuple[list[int], torch.Tensor]]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]  # as Lightning does
    return [(batch["index"].tolist(), batch["image"]) for batch in loader]


def _assert_same(one: list[tuple[list[int], torch.Tensor]], other: list[tuple[list[int], torch.Tensor]]) -> None:
    assert [indices for indices, _ in one] == [indices for indices, _ in other]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(one, other, strict=True))


def test_pictures__are_those_that_were_packed(root: str, tmp_path: Path) -> None:
    data = _data(root, tmp_path, augmentation="none")
    said = json.loads((Path(root.removeprefix("file://")) / "train" / "index.json").read_text())
    assert len(said["chunks"]) > 4
    seen = []
    for batch in chain(data.train_dataloader(), data.val_dataloader()):
        greys = batch["image"][:, 0, 8, 8].tolist()
        assert batch["label"].tolist() == [grey // 80 for grey in greys]
        seen += greys
    assert sorted(seen) == sorted(80 * label + 8 * number for label in range(3) for number in range(10))


def test_shards__of_a_store_are_fetched_when_they_are_due_and_once(shards: Path, tmp_path: Path) -> None:
    data = _data(f"file://{shards}", tmp_path, mixed_shards=1)
    data.setup("fit")
    assert not list(tmp_path.rglob("*.bin"))
    batches = iter(data.train_dataloader())
    next(batches)
    there = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.bin")}
    assert 0 < len(there) < len(list((shards / "train").glob("*.bin")))
    list(batches)
    _epoch(data, 1)
    now = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.bin")}
    assert len(now) == len(list((shards / "train").glob("*.bin")))
    assert there.items() <= now.items()


@pytest.mark.parametrize("workers", [1, 2])
def test_training__is_the_same_with_any_number_of_workers(root: str, workers: int, tmp_path: Path) -> None:
    alone, helped = _data(root, tmp_path / "a"), _data(root, tmp_path / "b", num_workers=workers)
    for epoch in (0, 1):
        batches = _epoch(alone, epoch)
        assert sorted(index for indices, _ in batches for index in indices) == list(range(24))
        _assert_same(batches, _epoch(helped, epoch))


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_at__goes_on_as_if_never_stopped(root: str, workers: int, tmp_path: Path) -> None:
    whole = _epoch(_data(root, tmp_path), 2)
    data = _data(root, tmp_path, num_workers=workers)
    data.resume_at(2, 4)
    resumed = [(batch["index"].tolist(), batch["image"]) for batch in data.train_dataloader()]
    _assert_same(whole[4:], resumed)


def test_broken_picture__is_named_or_skipped(tmp_path: Path, shards: Path) -> None:
    from litdata.streaming.writer import BinaryWriter

    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        writer = BinaryWriter(str(tmp_path / split), chunk_bytes=9000)
        good = cv2.imencode(".png", np.zeros((20, 20, 3), np.uint8))[1].tobytes()
        for number in range(10):
            writer[number] = {"image": b"none" if number == 3 else good, "label": number % 3}
        writer.done()
        writer.merge(1)
    with pytest.raises(DataError, match=r"train, picture 3: not a picture that can be read"):
        _epoch(_data(str(tmp_path), tmp_path / "c"), 0)
    data = _data(str(tmp_path), tmp_path / "c", on_bad_image="skip", skip_budget=0.1)
    seen = [index for indices, _ in _epoch(data, 0) for index in indices]
    assert len(set(seen)) == len(seen) == 8  # of 9, in fours
    assert set(seen) <= set(range(9))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": {"data_format": ["pickle"]}}, "other formats could run code"),
        ({"config": {"data_format": ["bytes", "pickle"]}}, "other formats could run code"),
        ({"config": None}, "lists no shards"),
        ({"chunks": []}, "No chunks f"),
        ({"chunks": [{"filename": "../../owned", "chunk_size": 3, "chunk_bytes": 9}]}, "is none of a file beside it"),
        ({"chunks": [{"filename": "/etc/passwd", "chunk_size": 3, "chunk_bytes": 9}]}, "is none of a file beside it"),
        ({"chunks": [{"filename": "index.json", "chunk_size": -3, "chunk_bytes": 9}]}, "holds -3 pictures"),
        ({"chunks": [{"filename": "a.bin", "chunk_size": 3, "chunk_bytes": 99}]}, "/a.bin: cannot be read: No such f"),
        ({"chunks": [{"filename": "index.json", "chunk_size": 3, "chunk_bytes": 9}]}, "cannot be read through litdata"),
        ({"chunks": [{"filename": "index.json", "chunk_size": 10**18, "chunk_bytes": 10**19}]}, "holds 10000000000000"),
    ],
)
def test_index__that_is_hostile_is_refused(change: dict[str, Any], said: str, shards: Path, tmp_path: Path) -> None:
    index = json.loads((shards / "train" / "index.json").read_text())
    (tmp_path / "set" / "train").mkdir(parents=True)
    (tmp_path / "set" / "train" / "index.json").write_text(json.dumps(index | change))
    with pytest.raises(DataError) as caught:
        _epoch(_data(str(tmp_path / "set"), tmp_path / "cache"), 0)
    assert said in str(caught.value)
    assert not (tmp_path / "owned").exists()


def test_index__of_a_store_is_refused_where_pictures_do_not_fit_into_their_shard(shards: Path, tmp_path: Path) -> None:
    index = json.loads((shards / "train" / "index.json").read_text())
    index["chunks"][0]["chunk_size"] = 10**18
    (tmp_path / "set" / "train").mkdir(parents=True)
    (tmp_path / "set" / "train" / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match=r"holds 1000000000000000000 pictures in \d+ bytes; pack the set anew$"):
        _data(f"file://{tmp_path}/set", tmp_path / "cache").dataset("train")


@pytest.mark.parametrize("text", [b"", b"[", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_index__that_is_none_is_refused(text: bytes, shards: Path, tmp_path: Path) -> None:
    (tmp_path / "set" / "train").mkdir(parents=True)
    (tmp_path / "set" / "train" / "index.json").write_bytes(text)
    with pytest.raises(DataError, match=r"set/train"):
        _data(str(tmp_path / "set"), tmp_path / "cache").dataset("train")


def test_label__without_a_name_is_named(shards: Path, tmp_path: Path) -> None:
    data = ShardedImages(str(shards), class_names=["a", "b"], num_workers=0, image_size=16)
    with pytest.raises(DataError, match=r"the label is 2, and class_names has 2 names; take those of the data.yaml"):
        _epoch(data, 0)


def test_split__that_is_not_there_is_named(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test: there are no shards of this split; `resvision pack` writes some"):
        _data(str(shards), tmp_path).dataset("test")
    with pytest.raises(DataError, match=r"test: cannot be read through litdata"):
        _data(f"file://{shards}", tmp_path).dataset("test")


def test_pack__writes_what_a_config_reads(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["resvision"])
    assert main(["pack", "--root", str(shards.parent / "pictures"), "--output", "out", "--shard_mib", "1"]) == 0
    assert "train: 24 pictures in 1 shards" in capsys.readouterr().out
    words = ["--model", "ClassificationTask", "--model.backbone", "resnet10t", "--config", "out/data.yaml"]
    sizes = ["--data.image_size", "32", "--data.batch_size", "8"]
    assert main(["fit", *words, *sizes, "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]) == 0


@pytest.mark.parametrize("split", ["train", "val"])
def test_pack__leaves_nothing_when_a_picture_is_bad(split: str, shards: Path, tmp_path: Path) -> None:
    from resvision.data.shard_packing import pack

    for part in ("train", "val"):
        shutil.copytree(shards.parent / "pictures", tmp_path / "pictures" / part)
    bad = tmp_path / "pictures" / split / "cat" / "bad.png"
    bad.write_bytes(b"none")
    (tmp_path / "shards").mkdir()
    data = ImageFolder(str(tmp_path / "pictures"))
    with pytest.raises(DataError, match=r"bad\.png: not a picture that can be read"):
        pack(data, ("train", "val"), tmp_path / "shards", shard_bytes=1500)
    assert not list((tmp_path / "shards").iterdir())
    bad.unlink()
    data = ImageFolder(str(tmp_path / "pictures"))
    assert pack(data, ("train", "val"), tmp_path / "shards", shard_bytes=1500) == {"train": 30, "val": 30}


def test_library__that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litdata", None)
    with pytest.raises(DataError, match=r'needs the library litdata, .*: pip install "resvision\[shards\]"$'):
        ShardedImages("s3://somewhere", class_names=CLASSES)
    assert main(["pack", "--root", "pictures"]) == 2
