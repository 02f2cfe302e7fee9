"""Drawing textured shapes that overlap, with noise and clutter, and with the labels of every task."""

from colorsys import hsv_to_rgb
from typing import Final, TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from resvision.data.seeding import fold

__all__ = ["CLASS_NAMES", "ShapesDataset", "ShapesPicture"]

CLASS_NAMES: Final = ("background", "circle", "square", "triangle", "star")

_MAX_SHAPES: Final = 5
#: Smallest part of a shape that each later one leaves visible.
_MIN_VISIBLE: Final = 0.6
#: Largest deviation of a pixel by noise.
_NOISE: Final = 20
#: Fractional bits of the corners that OpenCV draws between.
_SUBPIXEL_BITS: Final = 3
#: Distances of the corners from the centre, evenly spread around it, in radii.
_SPOKES: Final = {
    "circle": np.ones(40),
    "square": np.ones(4),
    "triangle": np.ones(3),
    "star": np.tile([1, 0.45], 5),
}
#: Hue of each class, in turns of the colour circle, and how far a shape's own may lie from it: a class can be told by
#: its colour and, where neighbours in the circle come close, by its form.
_HUES: Final = {"circle": 0.0, "square": 0.25, "triangle": 0.5, "star": 0.75}
_HUE_SPREAD: Final = 0.12


class ShapesPicture(TypedDict):
    """One drawn picture with the labels of every task.

    Attributes:
        image: (size, size, 3), uint8.
        mask: (size, size), uint8, the class of each pixel, 0 where there is no shape.
        boxes: (K, 4), float32, xyxy in pixels, around the visible part of each shape, furthest first.
        labels: (K,), int64, the class of each box, from 1.
        label: Class of the shape of which most is visible, from 1.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    label: int


class ShapesDataset:
    """Draws pictures by index.

    Args:
        length: Number of pictures.
        image_size: Height and width in pixels.
        seed: Data set to draw; another seed draws other pictures.
    """

    def __init__(self, length: int, image_size: int, *, seed: int) -> None:
        self.length = length
        self.image_size = image_size
        self.seed = seed
        self._grid = np.mgrid[0:image_size, 0:image_size].astype(np.float32)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> ShapesPicture:
        if not 0 <= index < self.length:
            raise IndexError(f"picture {index} of a data set of {self.length}")
        rng = np.random.default_rng(fold("shapes", self.seed, index))
        canvas = self._background(rng)
        instances = np.zeros(canvas.shape[:2], np.uint8)
        classes = [0]
        for _ in range(rng.integers(1, _MAX_SHAPES + 1)):
            kind = int(rng.integers(1, len(CLASS_NAMES)))
            alpha = self._outline(CLASS_NAMES[kind], rng)
            inside = alpha > 127
            if _hides_too_much(instances, inside):
                continue
            self._paint(canvas, alpha, CLASS_NAMES[kind], rng)
            instances[inside] = len(classes)
            classes.append(kind)
        noise = rng.integers(0, 2 * _NOISE + 1, canvas.shape, dtype=np.uint8)
        image = np.clip(canvas + noise - _NOISE, 0, 255).astype(np.uint8)
        return _labelled(image, instances, np.array(classes))

    def _background(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw soft patches of colour, waves and a few thin lines that belong to no class."""
        size = self.image_size
        patches = rng.uniform(40, 216, 3) + rng.normal(0, 25, (5, 5, 3))
        soft = cv2.resize(patches.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
        canvas: NDArray[np.float32] = np.asarray(soft, np.float32) + self._waves(rng, slice(0, size), slice(0, size))
        for _ in range(rng.integers(0, 5)):
            start, end = rng.integers(0, size, (2, 2)).tolist()
            cv2.line(canvas, start, end, rng.uniform(0, 255, 3).tolist(), int(rng.integers(1, 3)))
        return canvas

    def _outline(self, name: str, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Draw a shape of random place, size and rotation, (size, size), 255 inside."""
        radius = self.image_size * rng.uniform(0.12, 0.28)
        centre = rng.uniform(0.7 * radius, self.image_size - 0.7 * radius, 2)
        angle, spread = rng.uniform(0, 2 * np.pi), _SPOKES[name]
        turns = np.linspace(0, 2 * np.pi, len(spread), endpoint=False) + angle
        corners = centre + radius * spread[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        alpha = np.zeros((self.image_size, self.image_size), np.uint8)
        points = np.rint(corners * 2**_SUBPIXEL_BITS).astype(np.int32)
        cv2.fillPoly(alpha, [points], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        return alpha

    def _paint(
        self, canvas: NDArray[np.float32], alpha: NDArray[np.uint8], name: str, rng: np.random.Generator
    ) -> None:
        """Blend a shape into the canvas, in a bright colour near that of its class."""
        x, y, width, height = cv2.boundingRect(alpha)
        rows, columns = slice(y, y + height), slice(x, x + width)
        below = canvas[rows, columns]
        hue = (_HUES[name] + rng.uniform(-_HUE_SPREAD, _HUE_SPREAD)) % 1
        colour = 255 * np.array(hsv_to_rgb(hue, rng.uniform(0.75, 1), rng.uniform(0.75, 1)))
        fill = colour.astype(np.float32) + self._waves(rng, rows, columns)
        weight = alpha[rows, columns, None].astype(np.float32) / 255
        below += weight * (fill - below)

    def _waves(self, rng: np.random.Generator, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Return stripes of random direction and length for a part of the picture, (h, w, 1)."""
        direction, length = rng.uniform(0, np.pi), rng.uniform(4, 16)
        ys, xs = self._grid[:, rows, columns]
        step = 2 * np.pi / length
        along = float(step * np.cos(direction)) * xs + float(step * np.sin(direction)) * ys
        waves: NDArray[np.float32] = float(rng.uniform(0, 35)) * np.sin(along)
        return waves[..., None]


def _hides_too_much(instances: NDArray[np.uint8], inside: NDArray[np.bool_]) -> bool:
    """Tell whether a new shape would leave too little of one that is there."""
    before = np.bincount(instances.ravel(), minlength=2)[1:]
    hidden = np.bincount(instances[inside], minlength=2)[1:]
    return bool((hidden > (1 - _MIN_VISIBLE) * before[: len(hidden)]).any())


def _labelled(image: NDArray[np.uint8], instances: NDArray[np.uint8], classes: NDArray[np.int64]) -> ShapesPicture:
    boxes = []
    for instance in range(1, len(classes)):
        x, y, width, height = cv2.boundingRect((instances == instance).view(np.uint8))
        boxes.append((x, y, x + width, y + height))
    areas = np.bincount(instances.ravel(), minlength=len(classes))
    return ShapesPicture(
        image=image,
        mask=classes.astype(np.uint8)[instances],
        boxes=np.array(boxes, np.float32),
        labels=classes[1:],
        label=int(classes[1 + areas[1:].argmax()]),
    )
