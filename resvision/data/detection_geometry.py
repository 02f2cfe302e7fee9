"""Bringing a picture with boxes to the size that a detector takes, in training, evaluation and serving alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from resvision.data.fitting import resize

__all__ = [
    "LEAST_VISIBLE",
    "PAD_STRIDE",
    "Objects",
    "cut_out",
    "fitted_size",
    "mosaic",
    "padded_size",
    "zoomed",
]

#: Height and width of a batch are multiples of this, the stride of the deepest feature of a usual backbone.
PAD_STRIDE: Final = 32
#: Part of a box that must be left in a cut for its object to be kept: by less, nobody could tell what it is.
LEAST_VISIBLE: Final = 0.2
#: Longest side of a picture that is resized by its short side, in short sides: 1333 to 800, as usual on COCO since
#: Lin et al. 2017, arXiv:1708.02002, and its published code.
_LONGEST: Final = 5 / 3
#: Where the four pictures of a mosaic meet, in parts of its height and width.
_MEETING: Final = (0.3, 0.7)


@dataclass(frozen=True)
class Objects:
    """The objects of a picture.

    Attributes:
        boxes: (K, 4), float64, xyxy in pixels.
        labels: (K,), int64, classes from 0.
        crowd: (K,), bool, whether a box neither trains nor counts.
        area: (K,), float64, pixels of the object in the original picture.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    area: NDArray[np.float64]

    def at(self, boxes: NDArray[np.float64], kept: NDArray[Any]) -> "Objects":
        """Return some of the objects, in boxes of their own.

        Args:
            boxes: (L, 4), their new boxes.
            kept: (L,), their positions, or (K,) of bool.
        """
        return Objects(boxes, self.labels[kept], self.crowd[kept], self.area[kept])

    @staticmethod
    def none() -> "Objects":
        """Return the objects of a picture without any."""
        return Objects(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(0))

    @staticmethod
    def join(parts: Sequence["Objects"]) -> "Objects":
        """Return the objects of several parts as those of one picture."""
        return Objects(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.crowd for part in parts]),
            np.concatenate([part.area for part in parts]),
        )


def fitted_size(size: tuple[int, int], image_size: int | tuple[int, int]) -> tuple[int, int]:
    """Return the height and width to which a picture is resized, in its own proportions.

    Args:
        size: Height and width of the picture.
        image_size: Height and width into which it must fit (a letterbox); or the length of its short side, where the
            long one may be at most 5/3 of that.
    """
    height, width = size
    if isinstance(image_size, int):
        scale = min(image_size / min(size), image_size * _LONGEST / max(size))
    else:
        scale = min(image_size[0] / height, image_size[1] / width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def padded_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the smallest multiples of `PAD_STRIDE` that hold a height and a width."""
    height, width = (-(-side // PAD_STRIDE) * PAD_STRIDE for side in size)
    return height, width


def cut_out(
    image: NDArray[Any], objects: Objects, part: tuple[int, int, int, int], size: tuple[int, int]
) -> tuple[NDArray[Any], Objects]:
    """Cut a part out of a picture and resize it, with the objects of which enough is left.

    Args:
        image: (H, W, C), uint8 or uint16.
        objects: Its objects.
        part: xyxy in pixels of the picture.
        size: Height and width of the result.

    Returns:
        The part, (*size, C), and the objects in it.
    """
    left, top, right, bottom = part
    scale = np.tile([size[1] / (right - left), size[0] / (bottom - top)], 2)
    moved = (objects.boxes - [left, top, left, top]) * scale
    boxes = np.clip(moved, 0, np.tile(size[::-1], 2))
    visible = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / (moved[:, 2:] - moved[:, :2]).prod(axis=1)
    kept = visible >= LEAST_VISIBLE
    return resize(image[top:bottom, left:right], size), objects.at(boxes[kept], kept)


def zoomed(
    image: NDArray[Any], objects: Objects, size: tuple[int, int], factor: float, rng: np.random.Generator
) -> tuple[NDArray[Any], Objects]:
    """Resize a picture by a factor beyond a size; what would be larger than the size is cut at a random place.

    Args:
        image: (H, W, C), uint8 or uint16.
        objects: Its objects.
        size: Height and width to which factor 1 resizes the picture.
        factor: Above 1 to come closer, below 1 for a smaller picture.
        rng: Draws the place.
    """
    if factor <= 1:
        height, width = (max(1, round(side * factor)) for side in size)
        return cut_out(image, objects, (0, 0, image.shape[1], image.shape[0]), (height, width))
    return cut_out(image, objects, _window(image, (1 / factor, 1 / factor), rng), size)


def mosaic(
    pictures: Sequence[tuple[NDArray[Any], Objects]], size: tuple[int, int], rng: np.random.Generator
) -> tuple[NDArray[Any], Objects]:
    """Put parts of four pictures together, each into a corner (Bochkovskiy et al. 2020, arXiv:2004.10934, section 3.3).

    Each corner is filled: from half of the height or the width of its picture, to all that its proportions allow, is
    seen in it.

    Args:
        pictures: Four pictures (H, W, C), uint8 or uint16, of any size, with their objects. The first has the type of
            pixel that the result has.
        size: Height and width of the result, which has two pixels each way at least.
        rng: Draws where the four meet, and what is seen of each.
    """
    height, width = (max(side, 2) for side in size)
    x, y = (min(max(1, round(side * rng.uniform(*_MEETING))), side - 1) for side in (width, height))
    canvas = np.zeros((height, width, pictures[0][0].shape[2]), pictures[0][0].dtype)
    parts = []
    for (image, objects), (left, top, right, bottom) in zip(
        pictures,
        ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)),
        strict=True,
    ):
        corner = (bottom - top, right - left)
        cover = max(corner[0] / image.shape[0], corner[1] / image.shape[1]) * rng.uniform(1, 2)
        shares = (corner[0] / image.shape[0] / cover, corner[1] / image.shape[1] / cover)
        part, left_in = cut_out(image, objects, _window(image, shares, rng), corner)
        canvas[top:bottom, left:right] = _as_type(part, canvas.dtype)
        parts.append(left_in.at(np.add(left_in.boxes, [left, top, left, top]), np.arange(len(left_in.boxes))))
    return canvas, Objects.join(parts)


def _window(image: NDArray[Any], shares: tuple[float, float], rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return a part of a picture, xyxy, with the given shares of its height and width, at a random place."""
    rows, columns = (
        min(side, max(1, round(side * share))) for side, share in zip(image.shape[:2], shares, strict=True)
    )
    top = int(rng.integers(image.shape[0] - rows + 1))
    left = int(rng.integers(image.shape[1] - columns + 1))
    return left, top, left + columns, top + rows


def _as_type(image: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a picture of 8 or 16 bits in one of the two; 65535 / 255 = 257."""
    if image.dtype == dtype:
        return image
    return image * np.uint16(257) if dtype == np.uint16 else (image // 257).astype(np.uint8)
