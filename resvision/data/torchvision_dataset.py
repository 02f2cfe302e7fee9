"""Well-known data sets, through torchvision's own loaders."""

from collections import defaultdict
from pathlib import Path
from typing import Any, Final, Literal, final

import numpy as np
from numpy.typing import NDArray
from torchvision import datasets

from resvision.data.base import Split
from resvision.data.classification import ChosenSource, ClassificationSource, FileSource, divide
from resvision.data.classification_module import ClassificationDataModule
from resvision.data.errors import DataError
from resvision.data.resident import CropAndFlip
from resvision.data.transforms import Augmentation

__all__ = ["TorchvisionDataset"]

_Name = Literal[
    "MNIST",
    "FashionMNIST",
    "KMNIST",
    "CIFAR10",
    "CIFAR100",
    "SVHN",
    "STL10",
    "Flowers102",
    "OxfordIIITPet",
    "Food101",
    "DTD",
    "FGVCAircraft",
    "Imagenette",
]

#: What torchvision is asked for each split that a data set has.
_FLAGS: Final[dict[Split, dict[str, Any]]] = {"train": {"train": True}, "test": {"train": False}}
_TWO: Final[dict[Split, dict[str, Any]]] = {"train": {"split": "train"}, "test": {"split": "test"}}
_THREE: Final[dict[Split, dict[str, Any]]] = _TWO | {"val": {"split": "val"}}
_SPLITS: Final[dict[_Name, dict[Split, dict[str, Any]]]] = {
    "MNIST": _FLAGS,
    "FashionMNIST": _FLAGS,
    "KMNIST": _FLAGS,
    "CIFAR10": _FLAGS,
    "CIFAR100": _FLAGS,
    "SVHN": _TWO,
    "STL10": _TWO,
    "Flowers102": _THREE,
    "OxfordIIITPet": {"train": {"split": "trainval"}, "test": {"split": "test"}},
    "Food101": _TWO,
    "DTD": _THREE,
    "FGVCAircraft": _THREE,
    "Imagenette": {"train": {"split": "train"}, "test": {"split": "val"}},
}
#: Data sets that let their files be read by someone else.
_WITH_LOADER: Final = frozenset({"Flowers102", "Food101", "DTD", "FGVCAircraft", "Imagenette"})
_PHOTO_SIZE: Final = 224


@final
class TorchvisionDataset(ClassificationDataModule):
    """A well-known data set, as torchvision stores it.

    The test split is the official one, and so is validation for Flowers102, DTD and FGVCAircraft. Elsewhere it is held
    out of the official training split, class by class, always the same pictures.

    Args:
        name: Name of the data set.
        root: Folder in which torchvision keeps it, such as that of `MNIST/raw/` or `cifar-10-batches-py/`.
        image_size: Height and width in pixels at which the model sees pictures; None keeps their own where they are all
            of one, and takes 224 for photos.
        val_fraction: Part of each class of the training split that is held out where there is no official one, in 0..1.
        download: Fetch the data set over the network if it is not there.
        augmentation: A named strength, a list of albumentations' transforms, or `CropAndFlip`. The named ones flip from
            left to right, which digits do not allow.
        keep_decoded: Part of the machine's memory, in 0..1, that photos of the training and the validation split may
            take to stay decoded, so that no file is read twice; a larger split is read anew in each epoch.
        min_batches: Batches that an epoch of training has at least: a small split is gone through several times in it,
            each time in another order and with other augmentation.
        batch_size: Pictures in a batch, of each process.
        num_workers: Processes that load pictures; None takes none where the model itself runs on the CPU, and
            otherwise as many as there are CPU cores to spare, up to 8.
        seed: Seed of the order and of the augmentation.
    """

    def __init__(
        self,
        name: _Name,
        root: str,
        *,
        image_size: int | None = None,
        val_fraction: float = 0.1,
        download: bool = False,
        augmentation: Augmentation | CropAndFlip = "none",
        keep_decoded: float = 0.1,
        min_batches: int = 1,
        batch_size: int = 128,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        if not 0 < val_fraction < 1:
            raise ValueError(f"val_fraction is {val_fraction}; it must lie between 0 and 1")
        self.set_name = name
        self.root = root
        self.val_fraction = val_fraction
        self.download = download
        # The test split is read at once: it knows the classes.
        test, class_names = self._load("test")
        self._official: dict[Split, ClassificationSource] = {"test": test}
        shape = test.images.shape[1:] if isinstance(test, _ArraySource) else (_PHOTO_SIZE, _PHOTO_SIZE, 3)
        super().__init__(
            class_names,
            1 if shape[2] == 1 else 3,
            image_size=shape[0] if image_size is None else image_size,
            augmentation=augmentation,
            on_bad_image="error",
            skip_budget=0.0,
            keep_decoded=keep_decoded,
            min_batches=min_batches,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )

    def source(self, split: Split) -> ClassificationSource:
        """Return the pictures of one split; small ones are held in memory as they are."""
        part: Split = split if split in _SPLITS[self.set_name] else "train"
        if part not in self._official:
            self._official[part] = self._load(part)[0]
        official = self._official[part]
        if split == "test" or "val" in _SPLITS[self.set_name]:
            return official
        of_class: dict[int, list[str]] = defaultdict(list)
        for index in range(len(official)):
            label = official.label(index)
            assert isinstance(label, int)
            of_class[label].append(str(index))
        parts = (divide(keys, self.val_fraction)[split] for keys in of_class.values())
        return ChosenSource(official, sorted(int(key) for keys in parts for key in keys))

    def _load(self, split: Split) -> tuple[ClassificationSource, list[str]]:
        """Return an official split and the names of its classes."""
        arguments = _SPLITS[self.set_name][split]
        if self.set_name in _WITH_LOADER:
            # Paths in place of pictures: these are read when they are needed, by the reader of all others.
            arguments = arguments | {"loader": Path}
        try:
            data = getattr(datasets, self.set_name)(self.root, download=self.download, **arguments)
        except (RuntimeError, OSError) as error:  # what torchvision raises for files that are not there or damaged
            raise DataError(
                f"{self.root}: torchvision cannot read {self.set_name} there ({' '.join(str(error).split())}); "
                "set root to the folder that holds it, or download to true"
            ) from error
        # SVHN has no names for its digits, Imagenette several for each class.
        names = getattr(data, "classes", range(10))
        class_names = [name[0] if isinstance(name, tuple) else str(name) for name in names]
        if self.set_name == "OxfordIIITPet":
            return FileSource(data._images, data._labels, 3), class_names
        if self.set_name in _WITH_LOADER:
            pictures = [data[index] for index in range(len(data))]
            return FileSource([path for path, _ in pictures], [label for _, label in pictures], 3), class_names
        labels = data.labels if self.set_name in ("SVHN", "STL10") else data.targets
        return _ArraySource(f"{self.set_name}/{split}", _channels_last(np.asarray(data.data)), labels), class_names


@final
class _ArraySource(ClassificationSource):
    """Pictures in memory.

    Args:
        split: What the pictures are a part of, for their names.
        images: (N, H, W, C), uint8.
        labels: (N,), integers.
    """

    def __init__(self, split: str, images: NDArray[np.uint8], labels: Any) -> None:
        self.split = split
        self.images = images
        self.labels = np.asarray(labels)

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> tuple[NDArray[Any], int]:
        return self.images[index].copy(), self.label(index)  # An augmentation may change what it is given.

    def label(self, index: int) -> int:
        return int(self.labels[index])

    def name(self, index: int) -> str:
        return f"{self.split}/{index:05d}"


def _channels_last(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return pictures (N, H, W), (N, 3, H, W) or (N, H, W, 3) as (N, H, W, C)."""
    if images.ndim == 3:
        return images[..., None]
    return images.transpose(0, 2, 3, 1) if images.shape[1] == 3 else images
