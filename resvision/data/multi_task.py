"""Pictures with labels of several kinds: from a source of raw pictures to batches."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, final

import numpy as np
import torch
from numpy.typing import NDArray

from resvision.batch import (
    IGNORE_INDEX,
    ClassificationLabels,
    DetectionLabels,
    LabelKind,
    MultiTaskBatch,
    MultiTaskLabels,
    SegmentationLabels,
)
from resvision.data.base import VisionDataset, stack_images
from resvision.data.detection_geometry import Objects
from resvision.data.sampler import SampleKey
from resvision.data.seeding import fold
from resvision.data.transforms import MultiTaskTransform

__all__ = ["Labels", "MultiTaskDataset", "MultiTaskSample", "MultiTaskSource"]


@dataclass(frozen=True)
class Labels:
    """What is known of a picture; None is not known, and something must be.

    Attributes:
        label: Its class, from 0.
        mask: (H, W), uint8, the class of each pixel from 0, `IGNORE_INDEX` where a pixel has none.
        objects: Its objects, of which there may be none.
    """

    label: int | None
    mask: NDArray[np.uint8] | None
    objects: Objects | None

    def __post_init__(self) -> None:
        if self.label is None and self.mask is None and self.objects is None:
            raise ValueError("a picture without any label trains nothing: leave it out")


class MultiTaskSample(TypedDict):
    """One picture with its labels.

    Attributes:
        image: (H, W, C), uint8 or uint16.
        labels: What is known of it, in its own pixels.
        index: Position in the split.
    """

    image: NDArray[Any]
    labels: Labels
    index: int


class MultiTaskSource(ABC):
    """Raw pictures and labels of one split.

    Attributes:
        uniform_size: Whether all pictures have one height and width.
    """

    uniform_size: bool

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of pictures."""

    @abstractmethod
    def read(self, index: int) -> tuple[NDArray[Any], Labels]:
        """Return a picture (H, W, C), uint8 or uint16, and its labels."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Return what a person knows the picture by, such as its path."""


@final
class MultiTaskDataset(VisionDataset):
    """Samples of a source, augmented where there is a transform.

    Args:
        source: Raw pictures and labels.
        transform: Augmentation of the training split; None hands the pictures on as they are.
        seed: Seed of the augmentation.
    """

    def __init__(self, source: MultiTaskSource, transform: MultiTaskTransform | None, *, seed: int) -> None:
        self.source = source
        self.transform = transform
        self.seed = seed
        self.uniform_size = source.uniform_size

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: SampleKey | int) -> MultiTaskSample:
        epoch, index = (key.epoch, key.index) if isinstance(key, SampleKey) else (0, key)
        image, labels = self.source.read(index)
        if self.transform is not None:
            seed = fold(self.seed, "augment", epoch, index)
            # What is not known is made up, so that the draws are those of a picture of which all is known.
            mask = np.full(image.shape[:2], IGNORE_INDEX, np.uint8) if labels.mask is None else labels.mask
            objects = Objects.none() if labels.objects is None else labels.objects
            image, mask, objects = self.transform(image, mask, objects, seed=seed)
            known = None if labels.mask is None else mask, None if labels.objects is None else objects
            labels = Labels(labels.label, *known)
        return MultiTaskSample(image=image, labels=labels, index=index)

    def name(self, index: int) -> str:
        """Return what a person knows the picture by, such as its path."""
        return self.source.name(index)

    @staticmethod
    def collate(samples: Sequence[MultiTaskSample]) -> MultiTaskBatch:
        """Put samples of one size together into a batch."""
        known = [sample["labels"] for sample in samples]
        index = torch.tensor([sample["index"] for sample in samples])
        labels: MultiTaskLabels = {}
        rows: dict[LabelKind, torch.Tensor] = {}
        if classes := {row: said.label for row, said in enumerate(known) if said.label is not None}:
            rows["classification"] = torch.tensor([*classes])
            labels["classification"] = ClassificationLabels(
                label=torch.tensor([*classes.values()]), index=index[rows["classification"]]
            )
        if masks := {row: said.mask for row, said in enumerate(known) if said.mask is not None}:
            rows["segmentation"] = torch.tensor([*masks])
            labels["segmentation"] = SegmentationLabels(
                mask=torch.from_numpy(np.stack([*masks.values()])), index=index[rows["segmentation"]]
            )
        if objects := {row: said.objects for row, said in enumerate(known) if said.objects is not None}:
            rows["detection"] = torch.tensor([*objects])
            sizes = [samples[row]["image"].shape[:2] for row in objects]
            labels["detection"] = _boxes([*objects.values()], torch.tensor(sizes), index[rows["detection"]])
        image = stack_images([sample["image"] for sample in samples])
        return MultiTaskBatch(image=image, labels=labels, rows=rows, index=index)


def _boxes(objects: Sequence[Objects], size: torch.Tensor, index: torch.Tensor) -> DetectionLabels:
    return DetectionLabels(
        boxes=[torch.from_numpy(said.boxes.astype(np.float32)) for said in objects],
        labels=[torch.from_numpy(said.labels) for said in objects],
        crowd=[torch.from_numpy(said.crowd) for said in objects],
        area=[torch.from_numpy(said.area.astype(np.float32)) for said in objects],
        size=size,
        original_size=size,
        index=index,
    )
