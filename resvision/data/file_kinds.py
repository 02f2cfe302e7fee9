"""Kinds of files that Pillow or OpenCV reads wrongly, told by what stands before their pixels.

What a library returns for them differs from release to release, or from one read to the next: nothing here asks it.
"""

from io import SEEK_CUR
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COLORMAP,
    EXTRASAMPLES,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLEFORMAT,
    SAMPLESPERPIXEL,
    TiffImageFile,
)

__all__ = [
    "exif_of_png",
    "fault_of",
    "grey_step",
    "is_for_pillow",
    "numbers_of_16_bits",
    "starts_as_tiff",
    "stretched",
    "undisturbed",
]

#: First bytes of a TIFF of either order of bytes, and of one that may be larger than 4 GiB.
_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: Values of TIFF's tags: PhotometricInterpretation, PlanarConfiguration, SampleFormat, ExtraSamples.
_WHITE_IS_ZERO, _RGB, _YCBCR, _LAB = 0, 2, 6, 8
_ONE_PLANE: Final = 1
_UNSIGNED, _FLOAT = 1, 3
_MULTIPLIED: Final = 1


def fault_of(image: Image.Image) -> str | None:
    """Return why no picture can be made of an intact TIFF, and the mend; None where one can be made."""
    if not isinstance(image, TiffImageFile):
        return None
    tags, bits = image.tag_v2, _bits(image)
    form = tags.get(SAMPLEFORMAT, (_UNSIGNED,))[0]
    if form != _UNSIGNED or bits > 16:
        kind = {_UNSIGNED: "", _FLOAT: " in floating point"}.get(form, " with a sign")
        return f"pixels of {bits} bits{kind}; save it with 8 or 16 bits for a channel, without a sign"
    if _has_deep_colours(image):
        reasons = {
            # Of which OpenCV fills one, and leaves in the others whatever the memory held before.
            "in separate planes": tags.get(PLANAR_CONFIGURATION, _ONE_PLANE) != _ONE_PLANE,
            "that are not RGB": tags.get(PHOTOMETRIC_INTERPRETATION) != _RGB,
            "multiplied by the transparency": tags.get(EXTRASAMPLES, ())[:1] == (_MULTIPLIED,),
        }
        for reason, holds in reasons.items():
            if holds:
                return f"channels of {bits} bits {reason}; save it as RGB with planarconfig contig, or as PNG"
    return None


def is_for_pillow(image: Image.Image) -> bool:
    """Return whether Pillow is the one to read a picture in which `fault_of` finds nothing, and OpenCV is not."""
    if isinstance(image, TiffImageFile):
        # OpenCV overlooks damage, multiplies colours by the transparency and fails at many kinds. Pillow keeps 8 bits
        # of deep colours, goes astray in some of YCbCr and L*a*b*, and makes a palette that is written in bytes black.
        is_dark = image.mode == "P" and max(image.tag_v2[COLORMAP]) < 256
        is_other = image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) in (_YCBCR, _LAB)
        return not (is_dark or is_other or _has_deep_colours(image))
    # Older releases of OpenCV know no GIF, and newer ones read frames in a way of their own.
    return image.format == "GIF"


def undisturbed(image: Image.Image, data: bytes) -> tuple[bytes, int | None]:
    """Return a file as OpenCV reads it rightly: a PNG that stands still, and a PNM whose numbers it leaves alone.

    Args:
        image: The file, opened by Pillow.
        data: Its contents.

    Returns:
        The contents, and the number that stands for white where that is not the largest of 8 or 16 bits.
    """
    if image.format == "PNG":
        return _still(data), None
    if isinstance(image, PpmImageFile) and isinstance(image.tile[0].args, tuple):
        maxval = int(image.tile[0].args[-1])
        full = 255 if maxval < 256 else 65535
        if maxval != full:  # OpenCV scales by it what is written as text alone, and Pillow to fewer bits.
            start = b"%b\n%d %d\n%d\n" % (data[:2], *image.size, full)
            return start + data[image.tile[0].offset :], maxval
    return data, None


def _still(data: bytes) -> bytes:
    """Return a PNG without the chunk that says it moves: OpenCV looks for no errors in the frames of one that does."""
    at = 8  # behind the signature
    while (kind := data[at + 4 : at + 8]) not in (b"IDAT", b""):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if kind == b"acTL":
            data, end = data[:at] + data[end:], at
        at = end
    return data


def stretched(values: NDArray[Any], white: int | None) -> NDArray[Any]:
    """Return numbers of uint8 or uint16 over the full range of their type, of which some number is white."""
    full = int(np.iinfo(values.dtype).max)
    if white in (None, full):
        return values
    numbers = np.minimum(values, white).astype(np.uint32) * full
    return np.asarray((numbers + white // 2) // white, values.dtype)


def exif_of_png(file: BinaryIO) -> bytes:
    """Return the tags of a PNG, which may stand before its pixels or behind them."""
    place = file.tell()
    file.seek(8)  # behind the signature
    exif = b""
    while len(start := file.read(8)) == 8 and not exif:
        length = int.from_bytes(start[:4])
        if start[4:] == b"eXIf":
            exif = file.read(length)
        file.seek(length + 4, SEEK_CUR)  # and the checksum
    file.seek(place)
    return exif


def grey_step(image: Image.Image, file: BinaryIO) -> int:
    """Return how far apart Pillow sets greys that follow each other: it spreads those of 2 or 4 bits over 0 to 255."""
    if image.mode != "L":
        return 1
    bits = 8
    if image.format == "PNG":
        place = file.tell()
        file.seek(24)  # behind the signature and the header's length, name, width and height
        bits = file.read(1)[0]
        file.seek(place)
    elif isinstance(image, TiffImageFile):
        bits = _bits(image)
    return {2: 85, 4: 17}.get(bits, 1)


def numbers_of_16_bits(image: Image.Image) -> tuple[NDArray[np.uint16], int]:
    """Return the greys of a picture of one of Pillow's modes of 16 bits, black being 0, and which of them is white."""
    values, white = np.array(image, np.uint16), 65535
    if isinstance(image, TiffImageFile):
        white = 2 ** _bits(image) - 1
        # Which Pillow minds up to 8 bits, as OpenCV does.
        if image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO:
            values = white - values
    return values, white


def starts_as_tiff(file: BinaryIO) -> bool:
    """Return whether a file starts as a TIFF does."""
    file.seek(0)
    return file.read(4) in _TIFF


def _has_deep_colours(image: TiffImageFile) -> bool:
    return _bits(image) > 8 and image.tag_v2.get(SAMPLESPERPIXEL, 1) > 1


def _bits(image: TiffImageFile) -> int:
    return int(image.tag_v2.get(BITSPERSAMPLE, (1,))[0])  # Pillow opens none whose channels differ.
