"""Small well-known data sets, through torchvision's own loaders."""

from collections import defaultdict
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray
from torchvision import datasets

from resvision.data.base import Split, VisionDataModule
from resvision.data.classification import ClassificationDataset, ClassificationSource, divide
from resvision.data.errors import DataError
from resvision.data.transforms import Augmentation, ClassificationTransform

__all__ = ["TorchvisionDataset"]


@final
class TorchvisionDataset(VisionDataModule):
    """MNIST, FashionMNIST, CIFAR10 or CIFAR100, as torchvision stores them.

    The test split is the official one. Validation is held out of the official training split, class by class, always
    the same pictures.

    Args:
        name: Name of the data set.
        root: Folder in which torchvision keeps it, that of `MNIST/raw/` or `cifar-10-batches-py/`.
        image_size: Height and width in pixels at which the model sees pictures; None keeps their own, 28 or 32.
        val_fraction: Part of each class of the training split that is held out, in 0..1.
        download: Fetch the data set over the network if it is not there.
        augmentation: A named strength, or a list of albumentations' transforms. The named ones flip from left to
            right, which digits do not allow.
        batch_size: Pictures in a batch, of each process.
        num_workers: Processes that load pictures; None takes none where the model itself runs on the CPU, and
            otherwise as many as there are CPU cores to spare, up to 8.
        seed: Seed of the order and of the augmentation.
    """

    def __init__(
        self,
        name: Literal["MNIST", "FashionMNIST", "CIFAR10", "CIFAR100"],
        root: str,
        *,
        image_size: int | None = None,
        val_fraction: float = 0.1,
        download: bool = False,
        augmentation: Augmentation = "none",
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
        official, class_names = self._load(train=False)
        self._test = official
        super().__init__(
            class_names, official.images.shape[3], batch_size=batch_size, num_workers=num_workers, seed=seed
        )
        self.image_size = official.images.shape[1] if image_size is None else image_size
        self.transform = ClassificationTransform(augmentation, self.image_size)

    def build(self, split: Split) -> ClassificationDataset:
        """Return the pictures of one split, held in memory as they are."""
        source = self._test if split == "test" else self._held_out(split)
        transform = self.transform if split == "train" else None
        return ClassificationDataset(source, self.image_size, transform, seed=self.seed)

    def _held_out(self, split: Split) -> "_ArraySource":
        """Return the part of the official training split that belongs to a split."""
        official, _ = self._load(train=True)
        of_class: dict[int, list[str]] = defaultdict(list)
        for index, label in enumerate(official.labels.tolist()):
            of_class[label].append(str(index))
        chosen = sorted(int(key) for keys in of_class.values() for key in divide(keys, self.val_fraction)[split])
        return _ArraySource(
            f"{self.set_name}/train", official.images[chosen], official.labels[chosen], np.array(chosen)
        )

    def _load(self, *, train: bool) -> tuple["_ArraySource", list[str]]:
        try:
            data = getattr(datasets, self.set_name)(self.root, train=train, download=self.download)
        except (RuntimeError, OSError) as error:  # what torchvision raises for files that are not there or damaged
            raise DataError(
                f"{self.root}: torchvision cannot read {self.set_name} there ({' '.join(str(error).split())}); "
                "set root to the folder that holds it, or download to true"
            ) from error
        images, labels = np.asarray(data.data), np.asarray(data.targets)
        if images.ndim == 3:
            images = images[..., None]
        split = f"{self.set_name}/{'train' if train else 'test'}"
        return _ArraySource(split, images, labels, np.arange(len(labels))), list(data.classes)


@final
class _ArraySource(ClassificationSource):
    """Pictures in memory.

    Args:
        split: What the pictures are a part of, for their names.
        images: (N, H, W, C), uint8.
        labels: (N,), integers.
        numbers: (N,), position of each picture in the official split.
    """

    def __init__(
        self, split: str, images: NDArray[np.uint8], labels: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> None:
        self.split = split
        self.images = images
        self.labels = labels
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> tuple[NDArray[Any], int]:
        return self.images[index], int(self.labels[index])

    def name(self, index: int) -> str:
        return f"{self.split}/{self.numbers[index]:05d}"
