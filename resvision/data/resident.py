"""Training pictures that stay on the device, where whole batches are cropped and flipped."""

import math
from collections.abc import Sequence
from typing import Final, TypedDict, final

import numpy as np
import torch
from torch import Tensor

from resvision.batch import ClassificationBatch, MultiLabelBatch
from resvision.data.base import VisionDataset, stack_images
from resvision.data.classification import ClassificationDataset, Label
from resvision.data.errors import DataError
from resvision.data.sampler import SampleKey
from resvision.data.seeding import fold

__all__ = ["CropAndFlip", "DrawnBatch", "ResidentDataset"]

#: Pictures that are read before they are moved to the device.
_AT_ONCE: Final = 1024


class CropAndFlip:  # not final: jsonargparse knows a final class by its settings alone, without `class_path`
    """Augmentation of small pictures in whole batches, on the device, where all of the training split stays decoded.

    A picture is padded with black, cut to its size again at a random place, and flipped from left to right in half of
    the cases (Lee et al. 2014, arXiv:1409.5185, as He et al. 2015 train on CIFAR-10).

    Args:
        padding: Pixels on each side.
        flip: Whether pictures are flipped.

    Raises:
        ValueError: The padding is below 0.
    """

    def __init__(self, padding: int = 4, flip: bool = True) -> None:
        if padding < 0:
            raise ValueError(f"padding is {padding}; it must be at least 0")
        self.padding = padding
        self.flip = flip


class Draw(TypedDict):
    """What was drawn for a picture.

    Attributes:
        label: Class, or the classes that it shows.
        index: Position in the split.
        top: Row of the padded picture in which its crop begins.
        left: Column in which it begins.
        flipped: Whether it is flipped.
    """

    label: Label
    index: int
    top: int
    left: int
    flipped: bool


class DrawnBatch(TypedDict):
    """What was drawn for the pictures of a batch: see `Draw`; each (N,), or (N, num_classes) of several labels."""

    label: Tensor
    index: Tensor
    top: Tensor
    left: Tensor
    flipped: Tensor


@final
class ResidentDataset(VisionDataset):
    """Draws how pictures are cropped and flipped, and does so to those of a batch.

    Args:
        pictures: The pictures, of one size, without a transform of their own.
        augmentation: What is drawn.
        device: Where they stay.
        most_bytes: Memory that they may take.

    Raises:
        DataError: They do not fit.
    """

    uniform_size = True
    needs_workers = False

    def __init__(
        self, pictures: ClassificationDataset, augmentation: CropAndFlip, *, device: torch.device, most_bytes: int
    ) -> None:
        self.source = pictures.source
        self.weights = pictures.weights
        self._seed = pictures.seed
        self._augmentation = augmentation
        first = stack_images([pictures[0]["image"]]).permute(0, 2, 3, 1)
        inner = tuple(slice(augmentation.padding, augmentation.padding + side) for side in first.shape[1:3])
        shape = (len(pictures), *(side + 2 * augmentation.padding for side in first.shape[1:3]), first.shape[3])
        if math.prod(shape) * first.itemsize > most_bytes:
            raise DataError(
                f"the {len(pictures)} training pictures take more than the {most_bytes / 2**30:.1f} GiB that "
                "CropAndFlip may keep on the device; set augmentation: light"
            )
        self._pixels = torch.zeros(shape, dtype=first.dtype, device=device)
        for start in range(0, len(pictures), _AT_ONCE):
            indices = range(start, min(start + _AT_ONCE, len(pictures)))
            some = stack_images([pictures[index]["image"] for index in indices]).permute(0, 2, 3, 1)
            if some.dtype != first.dtype:
                raise DataError(
                    "some training pictures have 8 bits for a channel and others 16, which CropAndFlip cannot keep "
                    "together; set augmentation: light"
                )
            self._pixels[start : indices.stop, inner[0], inner[1]] = some.to(device)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: SampleKey | int) -> Draw:
        epoch, index = (key.epoch, key.index) if isinstance(key, SampleKey) else (0, key)
        number, places = fold(self._seed, "augment", epoch, index), 2 * self._augmentation.padding + 1
        number, top = divmod(number, places)
        number, left = divmod(number, places)
        flipped = self._augmentation.flip and bool(number % 2)
        return Draw(label=self.source.label(index), index=index, top=top, left=left, flipped=flipped)

    def name(self, index: int) -> str:
        """Return what a person knows the picture by, such as its path."""
        return self.source.name(index)

    @staticmethod
    def collate(samples: Sequence[Draw]) -> DrawnBatch:
        """Put what was drawn together into a batch."""
        return DrawnBatch(
            label=torch.from_numpy(np.stack([sample["label"] for sample in samples])),
            index=torch.tensor([sample["index"] for sample in samples]),
            top=torch.tensor([sample["top"] for sample in samples]),
            left=torch.tensor([sample["left"] for sample in samples]),
            flipped=torch.tensor([sample["flipped"] for sample in samples]),
        )

    def crop(self, batch: DrawnBatch) -> ClassificationBatch | MultiLabelBatch:
        """Return the pictures of a batch, as they were drawn."""
        device = self._pixels.device
        index, top, left, flipped = (batch[name].to(device)[:, None] for name in ("index", "top", "left", "flipped"))
        along = torch.arange(self._pixels.shape[1] - 2 * self._augmentation.padding, device=device)
        rows, columns = top + along, left + torch.where(flipped, along.flip(0), along)
        image = self._pixels[index[..., None], rows[:, :, None], columns[:, None, :]]
        return ClassificationBatch(image=image.permute(0, 3, 1, 2), label=batch["label"], index=batch["index"])
