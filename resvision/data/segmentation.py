"""Pictures with one class per pixel: from a source of raw pictures to batches."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypedDict, final

import numpy as np
import torch
from numpy.typing import NDArray

from resvision.batch import SegmentationBatch
from resvision.data.base import VisionDataset, stack_images
from resvision.data.sampler import SampleKey
from resvision.data.seeding import fold
from resvision.data.transforms import SegmentationTransform

__all__ = ["SegmentationDataset", "SegmentationSample", "SegmentationSource"]


class SegmentationSample(TypedDict):
    """One picture with its mask.

    Attributes:
        image: (H, W, C), uint8 or uint16.
        mask: (H, W), uint8, classes from 0, `IGNORE_INDEX` where a pixel has none.
        index: Position in the split.
    """

    image: NDArray[Any]
    mask: NDArray[np.uint8]
    index: int


class SegmentationSource(ABC):
    """Raw pictures and masks of one split.

    Attributes:
        uniform_size: Whether all pictures have one height and width.
    """

    uniform_size: bool

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of pictures."""

    @abstractmethod
    def read(self, index: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Return a picture (H, W, C), uint8 or uint16, and its mask (H, W), uint8."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Return what a person knows the picture by, such as its path."""


@final
class SegmentationDataset(VisionDataset):
    """Samples of a source, augmented where there is a transform.

    Args:
        source: Raw pictures and masks.
        transform: Augmentation of the training split; None hands the pictures on as they are.
        seed: Seed of the augmentation.
    """

    def __init__(self, source: SegmentationSource, transform: SegmentationTransform | None, *, seed: int) -> None:
        self.source = source
        self.transform = transform
        self.seed = seed
        self.uniform_size = source.uniform_size

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: SampleKey | int) -> SegmentationSample:
        epoch, index = (key.epoch, key.index) if isinstance(key, SampleKey) else (0, key)
        image, mask = self.source.read(index)
        if self.transform is not None:
            image, mask = self.transform(image, mask, seed=fold(self.seed, "augment", epoch, index))
        return SegmentationSample(image=image, mask=mask, index=index)

    def name(self, index: int) -> str:
        """Return what a person knows the picture by, such as its path."""
        return self.source.name(index)

    @staticmethod
    def collate(samples: Sequence[SegmentationSample]) -> SegmentationBatch:
        """Put samples of one size together into a batch."""
        return SegmentationBatch(
            image=stack_images([sample["image"] for sample in samples]),
            mask=torch.from_numpy(np.stack([sample["mask"] for sample in samples])),
            index=torch.tensor([sample["index"] for sample in samples]),
        )
