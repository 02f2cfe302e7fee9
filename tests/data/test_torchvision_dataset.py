import gzip
import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat  # type: ignore[import-untyped]  # no stubs of its own
from torchvision import datasets

from resvision.data import torchvision_dataset
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


def test_min_batches__goes_through_few_pictures_several_times(tmp_path: Path) -> None:
    _write_mnist(tmp_path)
    data = TorchvisionDataset("MNIST", str(tmp_path), val_fraction=0.25, batch_size=10, num_workers=0, min_batches=6)
    data.setup()
    seen = Counter(int(value) for batch in data.train_dataloader() for value in batch["image"].amax(dim=(1, 2, 3)))
    assert len(seen) == 30
    assert set(seen.values()) == {2}


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


def _write_photo(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (30 + value, 20), (value, value, value)).save(path, quality=100)


def test_oxford_pets__are_read_as_files(tmp_path: Path) -> None:
    base = tmp_path / "oxford-iiit-pet"
    lines: dict[str, list[str]] = {"trainval": [], "test": []}
    for number in range(30):
        kind, name = number % 2, ("Bengal", "basset_hound")[number % 2]
        _write_photo(base / "images" / f"{name}_{number}.jpg", number * 8)
        lines["test" if number >= 20 else "trainval"].append(f"{name}_{number} {kind + 1} {kind + 1} 1")
    (base / "annotations").mkdir()
    for split, text in lines.items():
        (base / "annotations" / f"{split}.txt").write_text("\n".join(text))
    data = TorchvisionDataset("OxfordIIITPet", str(tmp_path), val_fraction=0.2, num_workers=0, batch_size=32)
    assert (data.class_names, data.in_channels, data.image_size) == (("Bengal", "Basset Hound"), 3, 224)
    data.setup()
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [16, 4, 10]
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        (batch,) = loader
        values = batch["image"].float().mean((1, 2, 3)).round().long().tolist()
        assert batch["label"].tolist() == [value // 8 % 2 for value in values]


def test_flowers__have_a_validation_split_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.Flowers102, "_check_integrity", lambda self: True)
    base = tmp_path / "flowers-102"
    for number in range(1, 13):
        _write_photo(base / "jpg" / f"image_{number:05d}.jpg", number)
    savemat(str(base / "imagelabels.mat"), {"labels": np.arange(1, 13)[None]})
    ids = {"trnid": np.arange(1, 7)[None], "valid": np.arange(7, 10)[None], "tstid": np.arange(10, 13)[None]}
    savemat(str(base / "setid.mat"), ids)
    data = TorchvisionDataset("Flowers102", str(tmp_path), num_workers=0)
    assert (data.num_classes, data.class_names[0]) == (102, "pink primrose")
    data.setup()
    sets = {split: data.dataset(split) for split in ("train", "val", "test")}
    numbers = {split: [int(Path(of.name(i)).stem[6:]) for i in range(len(of))] for split, of in sets.items()}
    assert numbers == {"train": [*range(1, 7)], "val": [*range(7, 10)], "test": [*range(10, 13)]}
    assert [sets["val"][index]["label"] for index in range(3)] == [6, 7, 8]


def test_svhn__is_turned_channels_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.svhn.check_integrity", lambda *arguments: True)
    pixels = np.zeros((32, 32, 3, 20), np.uint8)
    pixels[5, 9, 2] = np.arange(20)
    for split in ("train", "test"):
        savemat(str(tmp_path / f"{split}_32x32.mat"), {"X": pixels, "y": 1 + np.arange(20)[:, None] % 10})
    data = TorchvisionDataset("SVHN", str(tmp_path), num_workers=0)
    assert (data.class_names, data.in_channels, data.image_size) == (tuple("0123456789"), 3, 32)
    (batch,) = data.test_dataloader()
    assert batch["image"][:, 2, 5, 9].tolist() == list(range(20))
    # The digit 0 has the number 10 in the files.
    assert batch["label"].tolist() == [(1 + number % 10) % 10 for number in range(20)]


@pytest.mark.parametrize("name", get_args(torchvision_dataset._Name))
def test_data__of_every_name_is_said_to_be_missing(tmp_path: Path, name: Any) -> None:
    with pytest.raises(
        DataError, match=f"torchvision cannot read {name} there .*; set root to the folder that holds it"
    ):
        TorchvisionDataset(name, str(tmp_path))


def test_data__that_is_not_there_is_named(tmp_path: Path) -> None:
    message = "torchvision cannot read MNIST there .*; set root to the folder that holds it, or download to true$"
    with pytest.raises(DataError, match=message):
        TorchvisionDataset("MNIST", str(tmp_path))
    assert not list(tmp_path.rglob("*.gz"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_fraction": 0.0}, r"val_fraction is 0\.0"),
        ({"image_size": 0}, "image_size must be a whole number"),
    ],
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
