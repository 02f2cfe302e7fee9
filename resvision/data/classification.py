"""Labelled pictures: from a source of raw pictures to batches."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Literal, TypedDict, final

import numpy as np
import torch
from numpy.typing import NDArray

from resvision.batch import ClassificationBatch, MultiLabelBatch
from resvision.data.base import Split, VisionDataset, stack_images
from resvision.data.fitting import fit_to, resize
from resvision.data.jpeg import Picture
from resvision.data.reading import PictureFile, open_image, read_image
from resvision.data.sampler import SampleKey, Shards
from resvision.data.seeding import fold
from resvision.data.transforms import ClassificationTransform

__all__ = [
    "ClassificationDataset",
    "ClassificationSample",
    "ClassificationSource",
    "FileSource",
    "Label",
    "check_fractions",
    "divide",
]

#: A class, from 0; or, for any number of classes, 1 or 0 for each: (num_classes,), float32.
Label = int | NDArray[np.float32]


class ClassificationSample(TypedDict):
    """One picture with its label.

    Attributes:
        image: (H, W, C), uint8 or uint16.
        label: Class, or the classes that it shows.
        index: Position in the split.
    """

    image: NDArray[Any]
    label: Label
    index: int


class ClassificationSource(ABC):
    """Raw pictures and labels of one split."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of pictures."""

    @abstractmethod
    def read(self, index: int) -> tuple[NDArray[Any], Label]:
        """Return a picture (H, W, C), uint8 or uint16, and its label."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Return what a person knows the picture by, such as its path."""

    def open(self, index: int) -> tuple[Picture, Label]:
        """Return a picture of which only a part may be asked for, and its label."""
        return self.read(index)

    def label(self, index: int) -> Label:
        """Return the label of a picture, which is read only where nothing else tells it."""
        return self.read(index)[1]

    def file(self, index: int) -> PictureFile | None:
        """Return the file of a picture, if it has one of its own."""
        return None

    def weights(self) -> Sequence[float] | None:
        """Return how often each picture is visited in training, in proportion; None for each once."""
        return None

    def shards(self) -> Shards | None:
        """Return which pictures lie together in files; None where each has its own."""
        return None


@final
class FileSource(ClassificationSource):
    """Files with their labels.

    Args:
        files: The pictures.
        labels: Label of each.
        channels: 3 for RGB, 1 for grey.
        weights: How often each is visited in training, in proportion to the others; None visits each once.
    """

    def __init__(
        self,
        files: Sequence[PictureFile],
        labels: Sequence[Label],
        channels: Literal[1, 3],
        weights: Sequence[float] | None = None,
    ) -> None:
        self._files = files
        self._labels = labels
        self._channels = channels
        self._weights = weights

    def __len__(self) -> int:
        return len(self._files)

    def read(self, index: int) -> tuple[NDArray[Any], Label]:
        """Return a picture and its label."""
        return read_image(self._files[index], self._channels), self._labels[index]

    def open(self, index: int) -> tuple[Picture, Label]:
        """Return a picture, decoded where it is asked for, and its label."""
        return open_image(self._files[index], self._channels), self._labels[index]

    def label(self, index: int) -> Label:
        """Return the label of a picture."""
        return self._labels[index]

    def name(self, index: int) -> str:
        """Return the path of a picture."""
        return str(self._files[index])

    def file(self, index: int) -> PictureFile:
        """Return the file of a picture."""
        return self._files[index]

    def weights(self) -> Sequence[float] | None:
        """Return how often each picture is visited in training."""
        return self._weights


@final
class ChosenSource(ClassificationSource):
    """Some of the pictures of a source.

    Args:
        source: Where the pictures come from.
        chosen: Their positions there, in order where the pictures lie in shards.
    """

    def __init__(self, source: ClassificationSource, chosen: Sequence[int]) -> None:
        self._source = source
        self._chosen = chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def read(self, index: int) -> tuple[NDArray[Any], Label]:
        """Return a picture and its label."""
        return self._source.read(self._chosen[index])

    def open(self, index: int) -> tuple[Picture, Label]:
        """Return a picture of which only a part may be asked for, and its label."""
        return self._source.open(self._chosen[index])

    def label(self, index: int) -> Label:
        """Return the label of a picture."""
        return self._source.label(self._chosen[index])

    def name(self, index: int) -> str:
        """Return what a person knows the picture by."""
        return self._source.name(self._chosen[index])

    def file(self, index: int) -> PictureFile | None:
        """Return the file of a picture."""
        return self._source.file(self._chosen[index])

    def weights(self) -> Sequence[float] | None:
        """Return how often each picture is visited in training."""
        weights = self._source.weights()
        return None if weights is None else [weights[index] for index in self._chosen]

    def shards(self) -> Shards | None:
        """Return which pictures lie together in files."""
        shards = self._source.shards()
        if shards is None:
            return None
        ends, sizes = list(accumulate(shards.sizes)), [0] * len(shards.sizes)
        for index in self._chosen:
            sizes[bisect_right(ends, index)] += 1
        return Shards(tuple(sizes), shards.mixed)


@final
class ClassificationDataset(VisionDataset):
    """Samples of a source in one size, augmented where there is a transform.

    Args:
        source: Raw pictures and labels.
        image_size: Height and width of every sample in pixels.
        transform: Augmentation of the training split; None takes each picture as it is.
        seed: Seed of the augmentation.
        whole: Whether pictures are resized as a whole, whatever their proportions, and not cut.
    """

    uniform_size = True

    def __init__(
        self,
        source: ClassificationSource,
        image_size: int,
        transform: ClassificationTransform | None,
        *,
        seed: int,
        whole: bool = False,
    ) -> None:
        self.source = source
        self.size = (image_size, image_size)
        self.transform = transform
        self.seed = seed
        self.whole = whole
        self.weights = source.weights()
        self.shards = source.shards()

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: SampleKey | int) -> ClassificationSample:
        epoch, index = (key.epoch, key.index) if isinstance(key, SampleKey) else (0, key)
        image, label = self.source.open(index)
        if self.transform is not None:
            image = self.transform(image, seed=fold(self.seed, "augment", epoch, index))
        fitted = resize(image[:, :], self.size) if self.whole else fit_to(image, self.size)
        return ClassificationSample(image=fitted, label=label, index=index)

    def name(self, index: int) -> str:
        """Return what a person knows the picture by, such as its path."""
        return self.source.name(index)

    @staticmethod
    def collate(samples: Sequence[ClassificationSample]) -> ClassificationBatch | MultiLabelBatch:
        """Put samples together into a batch."""
        return ClassificationBatch(
            image=stack_images([sample["image"] for sample in samples]),
            label=torch.from_numpy(np.stack([sample["label"] for sample in samples])),
            index=torch.tensor([sample["index"] for sample in samples]),
        )


def check_fractions(val_fraction: float, test_fraction: float) -> None:
    """Raise a ValueError unless both are parts of 1, the first above 0, and leave something to train on."""
    if not (0 < val_fraction < 1 and 0 <= test_fraction < 1 and val_fraction + test_fraction < 1):
        raise ValueError(
            f"val_fraction is {val_fraction} and test_fraction {test_fraction}; "
            "both are parts of 1, the first above 0, and leave something to train on"
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
