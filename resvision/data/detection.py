"""Pictures with boxes: from a source of raw pictures to batches."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, TypedDict, final

import numpy as np
import torch
from numpy.typing import NDArray

from resvision.batch import DetectionBatch
from resvision.data.base import VisionDataModule, VisionDataset, stack_images, tell
from resvision.data.classification import divide
from resvision.data.detection_geometry import Objects, fitted_size, mosaic, padded_size
from resvision.data.detection_records import Annotations, DetectionFolder, Flag
from resvision.data.errors import DataError
from resvision.data.fitting import resize
from resvision.data.reading import read_image
from resvision.data.sampler import SampleKey
from resvision.data.seeding import fold
from resvision.data.splits import Split
from resvision.data.transforms import Augmentation, DetectionTransform
from resvision.layers import check_choice

__all__ = ["DetectionDataModule", "DetectionDataset", "DetectionSample", "DetectionSource"]


class DetectionSample(TypedDict):
    """One picture with its objects.

    Attributes:
        image: (H, W, C), uint8 or uint16.
        boxes: (K, 4), float32, xyxy in pixels of `image`.
        labels: (K,), int64, classes from 0.
        crowd: (K,), bool, whether a box neither trains nor counts.
        area: (K,), float32, pixels of the object in the original picture.
        original_size: Height and width of the original picture.
        index: Position in the split.
    """

    image: NDArray[Any]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    area: NDArray[np.float32]
    original_size: tuple[int, int]
    index: int


class DetectionSource(ABC):
    """Raw pictures and objects of one split."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of pictures."""

    @abstractmethod
    def read(self, index: int) -> tuple[NDArray[Any], Objects]:
        """Return a picture (H, W, C), uint8 or uint16, and its objects, each box of positive size and inside."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Return what a person knows the picture by, such as its path."""

    def most_objects(self) -> int | None:
        """Return how many objects the picture with the most of them has, None where only reading it would tell."""
        return None


@final
class DetectionDataset(VisionDataset):
    """Samples of a source, resized, and augmented where there is a transform.

    Args:
        source: Raw pictures and objects.
        image_size: What every picture is resized to, see `fitted_size`.
        transform: Augmentation of the training split; None only resizes.
        mosaic: Part of the samples, in 0..1, that are put together from four pictures, where there is a transform.
        seed: Seed of the augmentation.
    """

    uniform_size = True  # a batch is padded to its largest picture

    def __init__(
        self,
        source: DetectionSource,
        image_size: int | tuple[int, int],
        transform: DetectionTransform | None,
        *,
        mosaic: float = 0.0,
        seed: int,
    ) -> None:
        self.source = source
        self.image_size = image_size
        self.transform = transform
        self.mosaic = mosaic
        self.seed = seed

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: SampleKey | int) -> DetectionSample:
        epoch, index = (key.epoch, key.index) if isinstance(key, SampleKey) else (0, key)
        image, objects = self.source.read(index)
        height, width = image.shape[:2]
        if self.transform is None:
            size = fitted_size((height, width), self.image_size)
            image = resize(image, size)
            boxes = objects.boxes * np.tile([size[1] / width, size[0] / height], 2)
            objects = objects.at(boxes, np.arange(len(boxes)))
        else:
            rng = np.random.default_rng(fold(self.seed, "mosaic", epoch, index))
            mixed = rng.random() < self.mosaic
            if mixed:
                image, objects = self._mosaic(image, objects, rng)
            image, objects = self.transform(
                image, objects, zoom=not mixed, seed=fold(self.seed, "augment", epoch, index)
            )
        return _sample(image, objects, (height, width), index)

    def _mosaic(self, image: NDArray[Any], objects: Objects, rng: np.random.Generator) -> tuple[NDArray[Any], Objects]:
        """Put a picture together with three others of the split."""
        others = [self.source.read(int(index)) for index in rng.integers(len(self.source), size=3)]
        shape = (image.shape[0], image.shape[1])
        size = fitted_size(shape, self.image_size) if isinstance(self.image_size, int) else self.image_size
        return mosaic([(image, objects), *others], size, rng)

    def name(self, index: int) -> str:
        """Return what a person knows the picture by, such as its path."""
        return self.source.name(index)

    @staticmethod
    def collate(samples: Sequence[DetectionSample]) -> DetectionBatch:
        """Put samples of any sizes together into a batch."""
        sizes = [sample["image"].shape[:2] for sample in samples]
        height, width = padded_size((max(size[0] for size in sizes), max(size[1] for size in sizes)))
        return DetectionBatch(
            image=stack_images([_pad(sample["image"], height, width) for sample in samples]),
            boxes=[torch.from_numpy(sample["boxes"]) for sample in samples],
            labels=[torch.from_numpy(sample["labels"]) for sample in samples],
            crowd=[torch.from_numpy(sample["crowd"]) for sample in samples],
            area=[torch.from_numpy(sample["area"]) for sample in samples],
            size=torch.tensor(sizes),
            original_size=torch.tensor([sample["original_size"] for sample in samples]),
            index=torch.tensor([sample["index"] for sample in samples]),
        )


def _sample(image: NDArray[Any], objects: Objects, original_size: tuple[int, int], index: int) -> DetectionSample:
    boxes = objects.boxes.astype(np.float32)
    # What was thin in a large picture may have no width left in a small one.
    kept = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return DetectionSample(
        image=image,
        boxes=boxes[kept],
        labels=objects.labels[kept],
        crowd=objects.crowd[kept],
        area=objects.area[kept].astype(np.float32),
        original_size=original_size,
        index=index,
    )


def _pad(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Fill a picture up with zeros, at the bottom and on the right."""
    if image.shape[:2] == (height, width):
        return image
    canvas = np.zeros((height, width, image.shape[2]), image.dtype)
    canvas[: image.shape[0], : image.shape[1]] = image
    return canvas


class DetectionDataModule(VisionDataModule, ABC):
    """Loads the splits of a data set with boxes, whatever the format of its files.

    Training pictures are augmented, those of the other splits only resized. A data set without validation pictures has
    a part of its training pictures held out.

    Args:
        folder: The data set on disk.
        image_size: Height and width in pixels into which every picture is fitted; or the length of its short side.
        val_fraction: Part of the training split that is held out where the data set has no other, in 0..1.
        in_channels: 3 for RGB, 1 for grey.
        augmentation: A named strength, or a list of albumentations' transforms.
        mosaic: Part of the training samples, in 0..1, that are put together from four pictures.
        batch_size: Pictures in a batch, of each process.
        num_workers: Processes that load pictures; None takes a number that fits.
        seed: Seed of the order and of the augmentation.
    """

    def __init__(
        self,
        folder: DetectionFolder,
        *,
        image_size: int | tuple[int, int],
        val_fraction: float,
        in_channels: Literal[1, 3],
        augmentation: Augmentation,
        mosaic: float,
        batch_size: int,
        num_workers: int | None,
        seed: int,
    ) -> None:
        super().__init__(folder.class_names, in_channels, batch_size=batch_size, num_workers=num_workers, seed=seed)
        check_choice("in_channels", in_channels, (1, 3))
        if not 0 < val_fraction < 1:
            raise ValueError(f"val_fraction is {val_fraction}; it must lie between 0 and 1")
        if not 0 <= mosaic <= 1:
            raise ValueError(f"mosaic is {mosaic}; it is a part of the samples, from 0 to 1")
        self.folder = folder
        self.image_size = image_size
        self.val_fraction = val_fraction
        self.channels = in_channels
        self.mosaic = mosaic
        self.transform = DetectionTransform(augmentation, image_size)
        self._annotations: dict[Split, Annotations] = {}

    def build(self, split: Split) -> DetectionDataset:
        """Read and check the annotations of one split."""
        source = _FileSource(self._split(split), self.channels)
        transform = self.transform if split == "train" else None
        return DetectionDataset(source, self.image_size, transform, mosaic=self.mosaic, seed=self.seed)

    def _split(self, split: Split) -> Annotations:
        """Return the pictures of a split, of which some may be held out of training."""
        if "val" in self.folder.splits or split == "test":
            return self._read(split)
        everything = self._read("train")
        parts = divide(everything.names, self.val_fraction)
        if not parts["train"]:
            raise DataError(
                f"{self.folder.root}: {len(everything)} pictures are too few to hold out {len(parts['val'])}; add some"
            )
        return everything.subset(parts[split])

    def _read(self, split: Split) -> Annotations:
        """Return all pictures of a split; they are read at the first call, and what was mended is told."""
        if split not in self.folder.splits:
            raise DataError(
                f"{self.folder.root}: the data has no {split} split; there are {', '.join(self.folder.splits)}"
            )
        if split not in self._annotations:
            found = self._annotations[split] = self.folder.read(split)
            for line in found.repairs:
                tell(f"{split}: {line}")
            train = self._annotations.get("train")
            if train is not None and (shared := set(train.paths) & set(found.paths)) and split != "train":
                tell(f"{split}: pictures that are in train too, so that scores say little: {len(shared)}")
        return self._annotations[split]


@final
class _FileSource(DetectionSource):
    """Files of pictures with annotations that have been checked."""

    def __init__(self, annotations: Annotations, channels: Literal[1, 3]) -> None:
        self._annotations = annotations
        self._channels = channels

    def __len__(self) -> int:
        return len(self._annotations)

    def read(self, index: int) -> tuple[NDArray[Any], Objects]:
        said, rows = self._annotations, self._annotations.of(index)
        crowd = said.flags[rows] & Flag.IGNORED != 0
        objects = Objects(said.boxes[rows], said.labels[rows], crowd, said.area[rows])
        return read_image(said.paths[index], self._channels), objects

    def name(self, index: int) -> str:
        return str(self._annotations.paths[index])

    def most_objects(self) -> int:
        pictures = np.repeat(np.arange(len(self)), np.diff(self._annotations.starts))
        return int(np.bincount(pictures[self._annotations.flags & Flag.IGNORED == 0], minlength=1).max())
