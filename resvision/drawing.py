"""From pixels and classes to pictures that a person looks at: colours, overlays, panels with a legend."""

import colorsys
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from resvision.batch import IGNORE_INDEX

__all__ = ["class_colours", "colour_mask", "displayable", "draw_boxes", "overlay", "panel"]

Pixels = npt.NDArray[np.uint8]

# Neighbouring classes differ in hue and in lightness, so that they stay apart for colour-blind eyes and in grey.
# They alternate between dark and light.
_COLOURS = (
    (31, 119, 180),
    (255, 187, 60),
    (44, 130, 44),
    (230, 85, 80),
    (120, 70, 160),
    (120, 220, 220),
    (140, 86, 75),
    (245, 130, 200),
    (70, 70, 255),
    (190, 205, 50),
    (20, 60, 90),
    (255, 225, 175),
)
# Of hue, saturation and lightness, from one class to the next.
_STEPS = (0.6180339887, 0.7548776662, 0.5698402910)
_NEAREST = Image.Resampling.NEAREST
# Rec. ITU-R BT.601, section 2.5.1.
_LUMA = (0.299, 0.587, 0.114)


def class_colours(num_classes: int) -> Pixels:
    """Return one colour a class.

    Args:
        num_classes: How many.

    Returns:
        (256, 3), or a row for each of more classes, RGB. All classes differ, and none is near black; rows past the
        classes, with up to 255 that of `IGNORE_INDEX` among them, are black.
    """
    colours = np.zeros((max(num_classes, IGNORE_INDEX + 1), 3), np.uint8)
    colours[:num_classes] = np.array(_palette(num_classes), np.uint8).reshape(-1, 3)
    return colours


@cache
def _palette(count: int) -> tuple[tuple[int, ...], ...]:
    # After twelve classes the colours come again, once, darker by a quarter.
    darker = [tuple(round(0.75 * value) for value in colour) for colour in _COLOURS]
    colours: dict[tuple[int, ...], None] = dict.fromkeys([*_COLOURS, *darker][:count])
    number = 0
    while len(colours) < count:
        # Steps by irrational parts of 1, which fill it evenly however many there are.
        hue, saturation, shade = (number * step % 1 for step in _STEPS)
        value = 0.2 * shade + (0.8 if number % 2 else 0.5)
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.45 + 0.5 * saturation, value)
        colours[round(255 * red), round(255 * green), round(255 * blue)] = None
        number += 1
    return tuple(colours)


def displayable(image: npt.NDArray[np.generic]) -> Pixels:
    """Turn a picture of any supported kind into 8-bit RGB.

    Args:
        image: (H, W, C) with one or at least three channels, of which the first three are shown; uint8, uint16
            (stretched from its darkest to its brightest value, for such pictures seldom fill the range) or
            float in 0..1.

    Returns:
        (H, W, 3), uint8.
    """
    if image.dtype != np.uint8:
        low, high = (0.0, 1.0) if image.dtype.kind == "f" else (float(image.min()), float(image.max()))
        image = np.clip((image.astype(np.float32) - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    if image.shape[2] < 3:
        image = np.repeat(image[:, :, :1], 3, axis=2)
    return np.ascontiguousarray(image[:, :, :3], dtype=np.uint8)


def colour_mask(mask: Pixels, num_classes: int) -> Pixels:
    """Paint a mask of class numbers, (H, W), in the colours of its classes, (H, W, 3); ignored pixels are black."""
    return class_colours(num_classes)[mask]


def overlay(image: npt.NDArray[np.generic], mask: Pixels, num_classes: int) -> Pixels:
    """Lay the colours of a mask over its picture, which is turned grey below them: colours then mean classes only.

    Args:
        image: (H, W, C), see `displayable`.
        mask: (H, W), class numbers; where it is `IGNORE_INDEX` the picture shows unchanged.
        num_classes: How many classes there are.

    Returns:
        (H, W, 3), uint8.
    """
    base = displayable(image)
    grey = base @ np.array(_LUMA, np.float32)
    blend = np.rint((grey[:, :, None] + colour_mask(mask, num_classes)) / 2).astype(np.uint8)
    return np.where((mask == IGNORE_INDEX)[:, :, None], base, blend)


def draw_boxes(
    image: npt.NDArray[np.generic],
    boxes: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    num_classes: int,
    texts: Sequence[str] | None = None,
    *,
    height: int = 0,
) -> Pixels:
    """Draw boxes in the colours of their classes, each with a word above it.

    Args:
        image: (H, W, C), see `displayable`.
        boxes: (K, 4), xyxy in pixels of the picture; the first is drawn on top.
        labels: (K,), class numbers.
        num_classes: How many classes there are.
        texts: One for each box; None writes nothing.
        height: Height in pixels to which small pictures are enlarged, by a whole factor.

    Returns:
        The picture, (H, W, 3), uint8, or enlarged.
    """
    factor = max(1, round(height / image.shape[0]))
    pixels = displayable(image)
    canvas = Image.fromarray(pixels).resize((pixels.shape[1] * factor, pixels.shape[0] * factor), _NEAREST)
    draw, font, colours = ImageDraw.Draw(canvas), ImageFont.load_default(11), class_colours(num_classes)
    line = max(2, min(canvas.size) // 250)
    for number in reversed(range(len(boxes))):
        left, top, right, bottom = (boxes[number] * factor).tolist()
        colour = tuple(colours[labels[number]].tolist())
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=line)
        if texts is not None:
            place = (left + 1, max(0.0, top - 13))
            draw.rectangle(draw.textbbox(place, texts[number], font=font), fill=colour)
            dark = float(np.dot(colour, _LUMA)) < 128
            draw.text(place, texts[number], fill="white" if dark else "black", font=font)
    return np.asarray(canvas)


def panel(pictures: Sequence[tuple[str, Pixels]], class_names: Sequence[str], height: int = 320) -> Image.Image:
    """Set pictures side by side, each with its title, over a legend of the classes.

    Args:
        pictures: Titles with (H, W, 3) pictures of one size.
        class_names: Names in the order of the class numbers.
        height: Height in pixels to which small pictures are enlarged; larger ones keep their size.
    """
    font = ImageFont.load_default(13)
    first = pictures[0][1]
    factor = max(1, round(height / first.shape[0]))
    tile_h, tile_w = first.shape[0] * factor, first.shape[1] * factor
    gap, title = 6, 20
    width = len(pictures) * (tile_w + gap) + gap
    rows = _legend_rows(class_names, font, width - 2 * gap)
    canvas = Image.new("RGB", (width, title + tile_h + gap + 20 * len(rows) + gap), "white")
    draw = ImageDraw.Draw(canvas)
    for position, (text, picture) in enumerate(pictures):
        left = gap + position * (tile_w + gap)
        draw.text((left, 3), text, fill="black", font=font)
        tile = Image.fromarray(picture).resize((tile_w, tile_h), _NEAREST)
        canvas.paste(tile, (left, title))
    colours = class_colours(len(class_names))
    for line, row in enumerate(rows):
        top = title + tile_h + gap + 20 * line
        for left, number in row:
            draw.rectangle((gap + left, top + 3, gap + left + 12, top + 15), tuple(colours[number]), "black")
            draw.text((gap + left + 17, top + 1), class_names[number], fill="black", font=font)
    return canvas


def _legend_rows(
    class_names: Sequence[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> list[list[tuple[int, int]]]:
    """Break the legend into rows of (left edge, class number) that fit the width."""
    rows: list[list[tuple[int, int]]] = [[]]
    left = 0
    for number, name in enumerate(class_names):
        needed = 17 + round(font.getlength(name)) + 14
        if left + needed > width and rows[-1]:
            rows.append([])
            left = 0
        rows[-1].append((left, number))
        left += needed
    return rows
