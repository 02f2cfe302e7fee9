import gzip
import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision import datasets

from resvision.data.errors import DataError
from resvision.data.torchvision_dataset import TorchvisionDataset
from tests.shared_data import shared_data


def _idx(values: np.ndarray) -> bytes:
    """Write the format of MNIST: two zeros, the type (8 = bytes), the number of sides, the sides, the values."""
    return bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes() + values.astype(np.uint8).tobytes()


def _write_mnist(root: Path, name: str = "MNIST") -> None:
    """Write 40 training and 10 test pictures, each of the grey of its number."""
    folder = root / name / "raw"
    folder.mkdir(parents=True)
    for split, count in (("train", 40), ("t10k", 10)):
        numbers = np.arange(count)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(_idx(numbers[:, None, None].repeat(28, 1).repeat(28, 2)))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(_idx(numbers % 10))


def _write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write 20 pictures a file, each of the brightness of its number."""
    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *arguments: True)
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pixels = np.arange(20, dtype=np.uint8)[:, None].repeat(3072, 1)
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [n % 10 for n in range(20)]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {n}" for n in range(10)]}))


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_mnist__holds_validation_out_of_train_class_by_class(tmp_path: Path, name: Any) -> None:
    _write_mnist(tmp_path, name)
    data = TorchvisionDataset(name, str(tmp_path), val_fraction=0.25, batch_size=64, num_workers=0)
    assert (data.num_classes, data.in_channels, data.image_size) == (10, 1, 28)
    data.setup()
    seen: dict[str, set[int]] = {}
    for split, loader in (("train", data.train_dataloader()), ("val", data.val_dataloader())):
        (batch,) = loader
        assert batch["image"].shape[1:] == (1, 28, 28)
        values = batch["image"].amax(dim=(1, 2, 3)).tolist()
        assert batch["label"].tolist() == [value % 10 for value in values]
        names = [data.dataset(split).name(index) for index in batch["index"].tolist()]  # type: ignore[arg-type]
        assert names == [f"{name}/train/{value:05d}" for value in values]
        seen[split] = set(values)
    assert seen["train"] | seen["val"] == set(range(40))
    assert Counter(value % 10 for value in seen["val"]) == dict.fromkeys(range(10), 1)
    (batch,) = data.test_dataloader()
    assert batch["label"].tolist() == list(range(10))


def test_cifar10__is_in_colour_and_of_the_size_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_cifar10(tmp_path, monkeypatch)
    data = TorchvisionDataset("CIFAR10", str(tmp_path), image_size=48, augmentation="light", num_workers=0)
    assert (data.class_names[1], data.in_channels) == ("class 1", 3)
    assert next(iter(data.train_dataloader()))["image"].shape[1:] == (3, 48, 48)
    assert len(data.dataset("val")) == 10


def test_data__that_is_not_there_is_named(tmp_path: Path) -> None:
    message = "torchvision cannot read MNIST there .*; set root to the folder that holds it, or download to true$"
    with pytest.raises(DataError, match=message):
        TorchvisionDataset("MNIST", str(tmp_path))
    assert not list(tmp_path.rglob("*.gz"))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"val_fraction": 0.0}, r"val_fraction is 0\.0"), ({"image_size": 0}, "image_size is 0")],
)
def test_options__that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    _write_mnist(tmp_path)
    with pytest.raises(ValueError, match=message):
        TorchvisionDataset("MNIST", str(tmp_path), **options)


def test_mnist__of_the_real_files(tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for packed in shared_data("mnist", "MNIST", "raw").glob("*.gz"):
        with gzip.open(packed) as source, (folder / packed.stem).open("wb") as target:
            shutil.copyfileobj(source, target)
    data = TorchvisionDataset("MNIST", str(tmp_path), num_workers=0)
    data.setup()
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [54001, 5999, 10000]
    assert data.class_names[7] == "7 - seven"
