"""A data set that is drawn as it is read: textured shapes that overlap, with noise and clutter.

It needs no download, shows within minutes whether a model learns, and has the labels of every task: a class,
boxes and a mask for each picture, all from one seed and index.
"""

from typing import Any, Literal, final, get_args

import numpy as np
from numpy.typing import NDArray

from resvision.batch import LabelKind
from resvision.data.base import Split, VisionDataModule, VisionDataset
from resvision.data.classification import ClassificationDataset, ClassificationSource
from resvision.data.detection import DetectionDataset, DetectionSource
from resvision.data.detection_geometry import Objects
from resvision.data.drawn_shapes import CLASS_NAMES, ShapesDataset, ShapesPicture
from resvision.data.multi_task import Labels, MultiTaskDataset, MultiTaskSource
from resvision.data.seeding import fold
from resvision.data.segmentation import SegmentationDataset, SegmentationSource
from resvision.data.transforms import (
    Augmentation,
    ClassificationTransform,
    DetectionTransform,
    MultiTaskTransform,
    SegmentationTransform,
    checked,
)
from resvision.layers import check_choice, check_whole

__all__ = ["Shapes"]


class _Drawn:
    """Pictures of one split, drawn as they are asked for."""

    uniform_size = True

    def __init__(self, shapes: ShapesDataset, split: Split) -> None:
        self._shapes = shapes
        self._split = split

    def __len__(self) -> int:
        return len(self._shapes)

    def name(self, index: int) -> str:
        return f"shapes/{self._split}/{index:05d}"


@final
class _Masks(_Drawn, SegmentationSource):
    """Drawn pictures with their masks."""

    def read(self, index: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        picture = self._shapes[index]
        return picture["image"], picture["mask"]


@final
class _Labels(_Drawn, ClassificationSource):
    """Drawn pictures with their classes; none is of the background, so they count from 0."""

    def read(self, index: int) -> tuple[NDArray[Any], int]:
        picture = self._shapes[index]
        return picture["image"], picture["label"] - 1


@final
class _Boxes(_Drawn, DetectionSource):
    """Drawn pictures with the boxes around what is visible of each shape; the classes count from 0."""

    def read(self, index: int) -> tuple[NDArray[Any], Objects]:
        picture = self._shapes[index]
        return picture["image"], _objects(picture)


@final
class _Everything(_Drawn, MultiTaskSource):
    """Drawn pictures with their classes, masks and boxes.

    Args:
        shapes: The pictures.
        split: Which split they are.
        missing_labels: Part of the pictures that lack one of the three, each as often.
    """

    def __init__(self, shapes: ShapesDataset, split: Split, missing_labels: float) -> None:
        super().__init__(shapes, split)
        self._missing_labels = missing_labels

    def read(self, index: int) -> tuple[NDArray[Any], Labels]:
        picture, missing = self._shapes[index], self._missing(index)
        labels = Labels(
            label=None if missing == "classification" else picture["label"] - 1,
            mask=None if missing == "segmentation" else picture["mask"],
            objects=None if missing == "detection" else _objects(picture),
        )
        return picture["image"], labels

    def _missing(self, index: int) -> LabelKind | None:
        rng = np.random.default_rng(fold("missing", self._split, index))
        kinds: tuple[LabelKind, ...] = get_args(LabelKind)
        return kinds[rng.integers(len(kinds))] if rng.random() < self._missing_labels else None


def _objects(picture: ShapesPicture) -> Objects:
    boxes, labels = picture["boxes"].astype(np.float64), picture["labels"] - 1
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return Objects(boxes, labels, np.zeros(len(labels), np.bool_), area)


@final
class Shapes(VisionDataModule):
    """Drawn shapes: circles, squares, triangles and stars, textured, noisy and half hidden.

    The pictures are always the same; `seed` only orders and augments them. The splits are drawn from seeds of
    their own, so none shares a picture with another.

    Args:
        image_size: Height and width in pixels, at least 32.
        task: What the labels are: a class for each pixel, that of the shape of which most is visible, or a box around
            what is visible of each shape; `multi` has all three.
        train_size: Pictures of the training split.
        val_size: Pictures of the validation split.
        test_size: Pictures of the test split.
        augmentation: A named strength, or a list of albumentations' transforms.
        missing_labels: With `multi`, part of the training pictures, in 0..1, that lack one of the three kinds.
        batch_size: Pictures in a batch, of each process.
        num_workers: Processes that draw pictures; None takes none where the model itself runs on the CPU, and
            otherwise as many as there are CPU cores to spare, up to 8.
        seed: Seed of the order and of the augmentation.
    """

    def __init__(
        self,
        image_size: int = 96,
        *,
        task: LabelKind | Literal["multi"] = "segmentation",
        train_size: int = 2048,
        val_size: int = 256,
        test_size: int = 256,
        augmentation: Augmentation = "light",
        missing_labels: float = 0.0,
        batch_size: int = 16,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        names = CLASS_NAMES if task in ("segmentation", "multi") else CLASS_NAMES[1:]
        super().__init__(names, 3, batch_size=batch_size, num_workers=num_workers, seed=seed)
        check_choice("task", task, (*get_args(LabelKind), "multi"))
        check_whole("image_size", image_size, 32)  # smaller shapes cannot be told apart
        self.image_size = image_size
        self.sizes: dict[Split, int] = {"train": train_size, "val": val_size, "test": test_size}
        for split, size in self.sizes.items():
            if size < 1:
                raise ValueError(f"{split}_size is {size}; a split needs at least 1 picture")
        if not 0 <= missing_labels <= 1:
            raise ValueError(f"missing_labels is {missing_labels}; it is a part of 1")
        if missing_labels and task != "multi":
            raise ValueError(f"missing_labels are for task: multi; with {task} a picture would have no label at all")
        self.task = task
        self.augmentation = checked(augmentation)
        self.missing_labels = missing_labels
        if task == "multi":
            shapes = CLASS_NAMES[1:]
            self.class_names_by_kind = {"classification": shapes, "segmentation": CLASS_NAMES, "detection": shapes}

    def build(self, split: Split) -> VisionDataset:
        """Return the pictures of one split."""
        shapes = ShapesDataset(self.sizes[split], self.image_size, seed=fold(split))
        size, training = self.image_size, split == "train"
        if self.task == "segmentation":
            crop = SegmentationTransform(self.augmentation, (size, size)) if training else None
            return SegmentationDataset(_Masks(shapes, split), crop, seed=self.seed)
        if self.task == "multi":
            every = MultiTaskTransform(self.augmentation, (size, size)) if training else None
            source = _Everything(shapes, split, self.missing_labels if training else 0.0)
            return MultiTaskDataset(source, every, seed=self.seed)
        if self.task == "detection":
            boxes = DetectionTransform(self.augmentation, (size, size)) if training else None
            return DetectionDataset(_Boxes(shapes, split), (size, size), boxes, seed=self.seed)
        transform = ClassificationTransform(self.augmentation, size) if training else None
        return ClassificationDataset(_Labels(shapes, split), size, transform, seed=self.seed)
