"""Pictures with one class each: from a source of raw pictures to batches."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypedDict, final

import torch
from numpy.typing import NDArray

from resvision.batch import ClassificationBatch
from resvision.data.base import Split, VisionDataset, stack_images
from resvision.data.fitting import fit_to
from resvision.data.sampler import SampleKey
from resvision.data.seeding import fold
from resvision.data.transforms import ClassificationTransform

__all__ = ["ClassificationDataset", "ClassificationSample", "ClassificationSource", "divide"]


class ClassificationSample(TypedDict):
    """One picture with its class.

    Attributes:
        image: (H, W, C), uint8 or uint16.
        label: Class, from 0.
        index: Position in the split.
    """

    image: NDArray[Any]
    label: int
    index: int


class ClassificationSource(ABC):
    """Raw pictures and classes of one split."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of pictures."""

    @abstractmethod
    def read(self, index: int) -> tuple[NDArray[Any], int]:
        """Return a picture (H, W, C), uint8 or uint16, and its class."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Return what a person knows the picture by, such as its path."""


@final
class ClassificationDataset(VisionDataset):
    """Samples of a source in one size, augmented where there is a transform.

    Args:
        source: Raw pictures and classes.
        image_size: Height and width of every sample in pixels.
        transform: Augmentation of the training split; None takes the middle of each picture.
        seed: Seed of the augmentation.
    """

    uniform_size = True

    def __init__(
        self,
        source: ClassificationSource,
        image_size: int,
        transform: ClassificationTransform | None,
        *,
        seed: int,
    ) -> None:
        self.source = source
        self.size = (image_size, image_size)
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: SampleKey | int) -> ClassificationSample:
        epoch, index = (key.epoch, key.index) if isinstance(key, SampleKey) else (0, key)
        image, label = self.source.read(index)
        if self.transform is not None:
            image = self.transform(image, seed=fold(self.seed, "augment", epoch, index))
        return ClassificationSample(image=fit_to(image, self.size), label=label, index=index)

    def name(self, index: int) -> str:
        """Return what a person knows the picture by, such as its path."""
        return self.source.name(index)

    @staticmethod
    def collate(samples: Sequence[ClassificationSample]) -> ClassificationBatch:
        """Put samples together into a batch."""
        return ClassificationBatch(
            image=stack_images([sample["image"] for sample in samples]),
            label=torch.tensor([sample["label"] for sample in samples]),
            index=torch.tensor([sample["index"] for sample in samples]),
        )


def divide(keys: Sequence[str], val_fraction: float, test_fraction: float = 0.0) -> dict[Split, list[str]]:
    """Divide the pictures of one class by their names alone, the same for every seed and machine.

    Args:
        keys: Names, all different.
        val_fraction: Part of them for validation, in 0..1; at least one if it is above 0.
        test_fraction: Part of them for the test, likewise.

    Returns:
        The names of each split; training gets what is left, which may be nothing.
    """
    order = sorted(keys, key=lambda key: fold("hold out", key))
    val, test = (max(1, round(len(keys) * part)) if part > 0 else 0 for part in (val_fraction, test_fraction))
    return {"val": order[:val], "test": order[val : val + test], "train": order[val + test :]}
