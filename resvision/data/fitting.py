"""Bringing a picture to the size that a model takes, in evaluation and in serving alike."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from resvision.data.jpeg import Picture

__all__ = ["fit_to", "resize"]


def fit_to(image: Picture, size: tuple[int, int]) -> NDArray[Any]:
    """Resize a picture until it just covers a size, and cut out its middle.

    The whole short side is kept: a model that was trained on random parts of pictures sees objects larger there
    than in whole ones, and cutting closer would widen that gap (Touvron et al. 2019, arXiv:1906.06423, section 3).

    Args:
        image: (H, W, C), of any size and type of pixel; of a file, no more than the middle is decoded.
        size: Height and width of the result.

    Returns:
        (*size, C), in the type of the picture; the picture itself when it has the size.
    """
    # The middle is cut out first, so that a strip of one row is not enlarged to millions of columns.
    height, width = image.shape[:2]
    scale = min(height / size[0], width / size[1])
    rows, columns = (max(1, round(side * scale)) for side in size)
    top, left = (height - rows) // 2, (width - columns) // 2
    return resize(image[top : top + rows, left : left + columns], size)


def resize(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize a picture.

    Args:
        image: (H, W, C), uint8 or uint16.
        size: Height and width of the result.

    Returns:
        (*size, C), in the type of the picture; the picture itself when it has the size.
    """
    if image.shape[:2] == size:
        return image
    # Averaging the area of a pixel is what shrinks without aliases.
    shrinks = size[0] < image.shape[0] and size[1] < image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size[::-1], interpolation=method)).reshape(*size, image.shape[2])
