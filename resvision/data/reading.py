"""The one reader of pictures, for training and for serving alike.

A model sees the same pixels wherever it runs: every picture is turned as its EXIF tag says, and its header is
checked before it is decoded, since a file of a few kilobytes can ask for gigabytes of memory.
"""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from resvision.data.errors import DataError
from resvision.data.file_kinds import (
    exif_of_png,
    fault_of,
    grey_step,
    is_for_pillow,
    numbers_of_16_bits,
    starts_as_tiff,
    stretched,
    undisturbed,
)
from resvision.data.jpeg import JpegHeader, PartlyDecoded, Picture, can_decode_parts, jpeg_header
from resvision.data.orientation import orientation_of, upright
from resvision.data.zipped import ZipEntry

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "EncodedPicture",
    "PictureFile",
    "from_pillow",
    "image_size",
    "open_image",
    "read_image",
    "read_mask",
]


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """A file within a table; it is opened and named like a `Path`.

    Attributes:
        name: What a person knows it by.
        read: Returns its contents.
    """

    name: str
    read: Callable[[], bytes]

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """Return the contents as a file."""
        return BytesIO(self.read())

    def __str__(self) -> str:
        return self.name


#: A file on the disk, within an archive, or within a table.
PictureFile = Path | ZipEntry | EncodedPicture

#: Endings, in lower case, of the files that are pictures.
IMAGE_SUFFIXES: Final = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)

#: Most pixels of a picture that is decoded: the number from which Pillow refuses, about 179 million.
MAX_PIXELS: Final = 2 * (1024**3 // 4 // 3)

#: Modes of Pillow with 32 bits for a channel.
_WIDE: Final = ("I", "F")
_FORMATS: Final = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
#: EXIF orientations whose height is the stored width.
_TURNED: Final = (5, 6, 7, 8)


def read_image(path: PictureFile, channels: Literal[1, 3] = 3) -> NDArray[Any]:
    """Read a picture, upright; of one that moves, the first frame.

    Grey pictures become three equal channels and colours become grey where the number of channels asks for
    it; palettes are resolved, transparency is dropped.

    Args:
        path: File in one of the usual formats.
        channels: 3 for RGB, 1 for grey.

    Returns:
        (H, W, channels), uint16 where the file has 16 bits for a channel, uint8 otherwise.

    Raises:
        DataError: No such file, not a picture, damaged, of floating-point numbers, or too large.
    """
    data, jpeg = _contents(path)
    return _decoded(path, data, jpeg, channels)


def open_image(path: PictureFile, channels: Literal[1, 3] = 3) -> Picture:
    """Read a picture of which only a part may be asked for, to the same pixels as `read_image`.

    Args:
        path: File in one of the usual formats.
        channels: 3 for RGB, 1 for grey.

    Returns:
        The picture, (H, W, channels), of which `[:, :]` is all; where the extra `jpeg` is installed, an upright JPEG is
        decoded when a part of it is asked for, and raises the errors of damaged files then.

    Raises:
        DataError: As `read_image`.
    """
    data, jpeg = _contents(path)
    if jpeg is None or not can_decode_parts(jpeg, data):
        return _decoded(path, data, jpeg, channels)
    return PartlyDecoded(data, jpeg, channels, lambda: _decoded(path, data, jpeg, channels))


def _contents(path: PictureFile) -> tuple[bytes, JpegHeader | None]:
    """Return what a file holds, and the header of a plain JPEG of a size that may be decoded."""
    with _opened(path) as file:
        data = file.read()
    jpeg = jpeg_header(data)
    if jpeg is not None and jpeg.height * jpeg.width > MAX_PIXELS:
        raise _too_large(path)
    return data, jpeg


def _decoded(path: PictureFile, data: bytes, jpeg: JpegHeader | None, channels: Literal[1, 3]) -> NDArray[Any]:
    if jpeg is not None:
        image, orientation = _by_opencv(path, data, "JPEG", channels), jpeg.orientation
    else:
        file = BytesIO(data)
        header = _header(path, file)
        if fault := fault_of(header):
            raise DataError(f"{path}: {fault}")
        if is_for_pillow(header):
            return _by_pillow(path, header, channels)
        contents, white = undisturbed(header, data)
        image = stretched(_by_opencv(path, contents, header.format, channels), white)
        orientation = _orientation(header, file)
    image = upright(image, orientation)
    return image[..., None] if channels == 1 else image


def _by_opencv(path: PictureFile, data: bytes, kind: str | None, channels: Literal[1, 3]) -> NDArray[Any]:
    """Decode a file of a kind that Pillow names, to (H, W) or (H, W, 3): a TIFF upright, anything else as stored."""
    # OpenCV would turn what other tags tell it to. A TIFF comes upright from every reader.
    flags = cv2.IMREAD_ANYDEPTH | (0 if kind == "TIFF" else cv2.IMREAD_IGNORE_ORIENTATION)
    # A JPEG comes out as RGB at no cost. A TIFF of 16 bits would not: OpenCV 5.0 leaves it in blue, green, red.
    is_rgb = channels == 3 and kind == "JPEG"
    colour = cv2.IMREAD_COLOR_RGB if is_rgb else cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE
    with _QUIET:
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), colour | flags)
        except cv2.error:
            image = None
    if image is None:
        raise _damaged(path, is_tiff=kind == "TIFF")
    if image.dtype != np.uint8 and image.dtype != np.uint16:
        raise DataError(f"{path}: pixels of type {image.dtype}; save it with 8 or 16 bits for a channel")
    return image if channels == 1 or is_rgb else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


class _Quiet:
    """Holds back what OpenCV says, which would stand beside the errors here, without the file's name.

    Its level of logging belongs to all threads: the first to come lowers it, and the last to go sets it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._level = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._level = cv2.utils.logging.setLogLevel(0)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                cv2.utils.logging.setLogLevel(self._level)


_QUIET: Final = _Quiet()


def from_pillow(image: Image.Image, channels: Literal[1, 3] = 3) -> NDArray[Any]:
    """Return the pixels of a picture that Pillow has opened, as `read_image` would those of its file.

    Args:
        image: The picture; of one that moves, the frame that it is at.
        channels: 3 for RGB, 1 for grey.

    Returns:
        (H, W, channels), uint16 where the picture has 16 bits for a channel, uint8 otherwise.

    Raises:
        ValueError: Pixels of 32 bits.
    """
    if image.mode in _WIDE:
        raise ValueError(
            f"a picture of mode {image.mode!r} has pixels of 32 bits; convert it to 8 or 16 bits a channel"
        )
    image.load()  # which turns a TIFF, and finds the tags behind the pixels of a PNG
    orientation = orientation_of(image.info.get("exif", b""))
    if image.mode.startswith("I;16"):
        values = upright(stretched(*numbers_of_16_bits(image)), orientation)
        return np.repeat(values[..., None], channels, axis=2)
    pixels = upright(np.array(image.convert("RGB")), orientation)  # a copy that may be written to
    return pixels if channels == 3 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None]


def _by_pillow(path: PictureFile, image: Image.Image, channels: Literal[1, 3]) -> NDArray[Any]:
    try:
        return from_pillow(image, channels)
    except Exception as error:  # Pillow's decoders raise errors of many kinds for a broken file.
        raise _damaged(path, is_tiff=image.format == "TIFF") from error


def read_mask(path: PictureFile) -> NDArray[Any]:
    """Read the values of a mask as the file has them, upright.

    Args:
        path: File in one of the usual formats.

    Returns:
        (H, W) of integers: the indices of a palette, 0 and 1 of a file of single bits, grey values otherwise, of which
        0 is black. (H, W, 3), uint8, of a file of colours. Transparency is dropped.

    Raises:
        DataError: No such file, not a picture, damaged, too large, or of another kind of pixel.
    """
    with _opened(path) as file:
        mask = _header(path, file)
        if mask.mode != "I" and (fault := fault_of(mask)):  # Pillow gives the numbers of this mode as they are.
            raise DataError(f"{path}: {fault}")
        step = grey_step(mask, file)
        orientation = _orientation(mask, file)
        values = _numbers(path, mask, file)
    if mask.mode in ("LA", "PA"):
        values = values[..., 0]
    elif mask.mode in ("RGB", "RGBA"):
        values = values[..., :3]
    elif mask.mode in ("1", "L", "P"):
        values = values.astype(np.uint8) // step
    elif mask.mode == "I" or mask.mode.startswith("I;16"):
        values = values.astype(np.int32)
    else:
        raise DataError(f"{path}: a mask of kind {mask.mode!r}; save it as a grey, palette or RGB PNG")
    return upright(values, orientation)


def _numbers(path: PictureFile, mask: Image.Image, file: BinaryIO) -> NDArray[Any]:
    """Return the numbers of a mask that Pillow has opened, in the form of its mode."""
    if mask.format in ("BMP", "PPM"):
        file.seek(0)
        data, white = undisturbed(mask, file.read())
        # Pillow takes the indices of a grey palette for bytes, however many bits they have.
        if white is not None or (mask.format == "BMP" and mask.mode in ("1", "L")):
            numbers = _by_opencv(path, data, mask.format, 3 if mask.mode == "RGB" else 1)
            if numbers.ndim == 3 and numbers.dtype != np.uint8:
                raise DataError(f"{path}: a mask of colours of 16 bits; save it with 8 bits for a channel")
            return numbers > 127 if mask.mode == "1" else numbers
    try:
        return numbers_of_16_bits(mask)[0] if mask.mode.startswith("I;16") else np.asarray(mask)
    except Exception as error:  # Pillow's decoders raise errors of many kinds for a broken file.
        raise _damaged(path, is_tiff=mask.format == "TIFF") from error


def image_size(path: PictureFile) -> tuple[int, int]:
    """Return height and width of a picture as `read_image` gives them, from the header alone.

    Args:
        path: File in one of the usual formats.

    Raises:
        DataError: No such file, not a picture, or too large.
    """
    with _opened(path) as file:
        image = _header(path, file)
        height, width = image.height, image.width  # Of a TIFF as it will be turned.
        return (width, height) if _orientation(image, file) in _TURNED else (height, width)


@contextmanager
def _opened(path: PictureFile) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _header(path: PictureFile, file: BinaryIO) -> Image.Image:
    """Open a picture without decoding it, when its kind and size allow that."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # Its limit is half of ours.
            image = Image.open(file, formats=_FORMATS)
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except UnidentifiedImageError:
        if file.seek(0, SEEK_END) == 0:
            raise DataError(f"{path}: the file is empty; replace or remove it") from None
        if starts_as_tiff(file):
            raise _damaged(path, is_tiff=True) from None
        raise DataError(f"{path}: not a picture that can be read; use {', '.join(_FORMATS)}") from None
    except Exception as error:  # Pillow's parsers raise errors of many kinds for a broken header.
        raise _damaged(path, is_tiff=starts_as_tiff(file)) from error
    if image.width * image.height > MAX_PIXELS:  # Pillow's own limit may have been lifted.
        raise _too_large(path)
    return image


def _orientation(image: Image.Image, file: BinaryIO) -> int:
    """Return how a picture is stored, 1 (upright) to 8: of a TIFF, which Pillow and OpenCV turn by themselves, 1."""
    # Pillow would decode all pixels of a PNG to look for a tag behind them.
    return orientation_of(exif_of_png(file) if image.format == "PNG" else image.info.get("exif", b""))


def _too_large(path: PictureFile) -> DataError:
    return DataError(f"{path}: more than {MAX_PIXELS:,} pixels; cut the picture into tiles")


def _damaged(path: PictureFile, *, is_tiff: bool = False) -> DataError:
    if is_tiff:  # Which have more kinds than the libraries read, and the libraries do not say what they lack.
        return DataError(
            f"{path}: the TIFF is damaged, or of a kind that cannot be read; save it as PNG, replace or remove it"
        )
    return DataError(f"{path}: the picture is damaged or cut short; replace or remove it")
