"""A curve as a picture, without a plotting library."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

__all__ = ["draw_curve"]

_SIZE = (800, 500)
_MARGIN = 60


def draw_curve(xs: Sequence[float], ys: Sequence[float], *, mark: float | None, labels: tuple[str, str]) -> Image.Image:
    """Draw y over the logarithm of x.

    Args:
        xs: Above 0, rising, at least two.
        ys: As many, finite.
        mark: The x at which to draw an upright line, None for no line.
        labels: Of the two axes.
    """
    picture = Image.new("RGB", _SIZE, "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(14)
    left, right, low, high = math.log10(xs[0]), math.log10(xs[-1]), min(ys), max(ys)
    width, height = (side - 2 * _MARGIN for side in _SIZE)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - left) / (right - left)
        up = (y - low) / ((high - low) or 1.0)
        return _MARGIN + width * across, _SIZE[1] - _MARGIN - height * up

    draw.rectangle((_MARGIN, _MARGIN, _SIZE[0] - _MARGIN, _SIZE[1] - _MARGIN), outline="grey")
    for exponent in range(math.ceil(left), math.floor(right) + 1):
        x = place(10.0**exponent, low)[0]
        draw.line((x, _MARGIN, x, _SIZE[1] - _MARGIN), fill="lightgrey")
        draw.text((x, _SIZE[1] - _MARGIN + 4), f"1e{exponent}", fill="black", font=font, anchor="ma")
    for y in (low, high):
        draw.text((_MARGIN - 4, place(xs[0], y)[1]), f"{y:.3g}", fill="black", font=font, anchor="rm")
    draw.line([place(x, y) for x, y in zip(xs, ys, strict=True)], fill=(31, 119, 180), width=3)
    if mark is not None:
        x = place(mark, low)[0]
        draw.line((x, _MARGIN, x, _SIZE[1] - _MARGIN), fill=(230, 85, 80), width=2)
        draw.text((x, _MARGIN - 4), f"{mark:.2g}", fill=(230, 85, 80), font=font, anchor="mb")
    draw.text((_SIZE[0] / 2, _SIZE[1] - 10), labels[0], fill="black", font=font, anchor="mb")
    draw.text((_MARGIN, _MARGIN - 24), labels[1], fill="black", font=font, anchor="lb")
    return picture
