"""Which way up a picture is: the orientation among its Exif tags (CIPA DC-008, 4.6.5.1), and turning it.

Pillow, OpenCV and browsers differ in what else they take for an orientation; here nothing else is.
"""

from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["orientation_of", "upright"]

_ORIENTATION: Final = 0x0112
_ORDERS: Final[dict[bytes, Literal["little", "big"]]] = {b"II*\0": "little", b"MM\0*": "big"}
#: Bytes of a value of the types SHORT and LONG.
_SIZES: Final = {3: 2, 4: 4}


def orientation_of(exif: bytes) -> int:
    """Return how a picture is stored, 1 (upright) to 8; 1 where its Exif tags do not say, or are broken."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = _ORDERS.get(tiff[:4])
    if order is None:
        return 1
    start = int.from_bytes(tiff[4:8], order)
    entries = tiff[start + 2 : start + 2 + 12 * int.from_bytes(tiff[start : start + 2], order)]
    for at in range(0, len(entries) - 11, 12):
        if int.from_bytes(entries[at : at + 2], order) == _ORIENTATION:
            size = _SIZES.get(int.from_bytes(entries[at + 2 : at + 4], order), 0)
            value = int.from_bytes(entries[at + 8 : at + 8 + size], order)
            return value if 1 <= value <= 8 else 1
    return 1


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn a picture (H, W) or (H, W, C), of several channels, that is stored in one of the eight ways."""
    match orientation:
        case 2:
            turned = cv2.flip(pixels, 1)
        case 3:
            turned = cv2.rotate(pixels, cv2.ROTATE_180)
        case 4:
            turned = cv2.flip(pixels, 0)
        case 5:
            turned = cv2.transpose(pixels)
        case 6:
            turned = cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE)
        case 7:
            turned = cv2.rotate(cv2.transpose(pixels), cv2.ROTATE_180)
        case 8:
            turned = cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE)
        case _:
            return pixels
    return np.asarray(turned)
