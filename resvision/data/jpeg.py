"""JPEGs: what their header says, and decoding the part of one that is asked for.

A program that cuts out a random part of each picture spends most of its time on decoding, part of it for pixels that
it then throws away. libjpeg-turbo can leave them out; of the libraries that bring it to Python, NVIDIA's nvImageCodec
(the extra `jpeg`) passes that on. It is used on the CPU alone.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from resvision.data.orientation import orientation_of

__all__ = ["JpegHeader", "PartlyDecoded", "Picture", "can_decode_parts", "jpeg_header"]

#: Markers of a JPEG: frames of 8 bits (baseline, extended, progressive); and segments with a length that can stand
#: before the pixels (tables of coding and quantisation, restart interval, applications' own, comment).
_FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2})
_SEGMENTS: Final = frozenset({0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE})
_PROGRESSIVE: Final = 0xC2
_SCAN: Final = 0xDA
_APP1: Final = 0xE1
_EXIF: Final = b"Exif\0\0"
_END: Final = b"\xff\xd9"


class Picture(Protocol):
    """A picture of which parts can be had: an array, or a file that is decoded where it is asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels."""
        ...

    def __getitem__(self, part: tuple[slice, slice], /) -> NDArray[Any]:
        """Return the pixels of some rows and columns."""
        ...


class JpegHeader(NamedTuple):
    """What stands before the pixels of a plain JPEG.

    Attributes:
        height: Stored height in pixels.
        width: Stored width in pixels.
        components: 1 where it is grey, 3 where it has colours, 4 for print.
        is_progressive: Whether the pixels come in several passes.
        orientation: How it is stored, 1 (upright) to 8.
    """

    height: int
    width: int
    components: int
    is_progressive: bool
    orientation: int


def jpeg_header(data: bytes) -> JpegHeader | None:
    """Read the header of a plain JPEG up to its first scan (ITU-T T.81, B.2); return None for anything else.

    Pillow would tell the same, and does so for whatever is not plain here, but takes a twentieth of the time that
    reading the whole picture takes. Any byte that is out of place makes the file one for Pillow, so that no decoder
    can find another frame header than this one.
    """
    if not data.startswith(b"\xff\xd8"):
        return None
    at, exif, frame = 2, b"", b""
    while len(header := data[at : at + 10]) == 10 and header[0] == 0xFF:
        marker, end = header[1], at + 2 + int.from_bytes(header[2:4])
        if marker == _SCAN and frame:
            height, width = int.from_bytes(frame[5:7]), int.from_bytes(frame[7:9])
            return JpegHeader(height, width, frame[9], frame[1] == _PROGRESSIVE, orientation_of(exif))
        if marker in _FRAMES and not frame and header[4] == 8 and any(header[5:7]) and any(header[7:9]):
            frame = header
        elif marker not in _SEGMENTS:
            return None
        elif marker == _APP1 and not exif and data.startswith(_EXIF, at + 4):
            exif = data[at + 4 : end]
        at = end
    return None


def can_decode_parts(header: JpegHeader, data: bytes) -> bool:
    """Return whether a JPEG is decoded in parts here: a whole, upright one, grey or of colours, and with the extra.

    One that comes in several passes may lack the last of them, for which a decoder makes up from the blocks around.
    """
    is_simple = header.components in (1, 3) and header.orientation == 1 and not header.is_progressive
    return is_simple and data.endswith(_END) and _codec() is not None


class PartlyDecoded:
    """A JPEG of which no more is decoded than what is asked for, to the same pixels as the whole of it.

    Args:
        data: Contents of the file.
        header: Its header.
        channels: 3 for RGB, 1 for grey.
        whole: Decodes the whole picture, (H, W, channels), or raises an error that says why not.
    """

    def __init__(
        self, data: bytes, header: JpegHeader, channels: Literal[1, 3], whole: Callable[[], NDArray[Any]]
    ) -> None:
        self.shape = (header.height, header.width, channels)
        self._data = data
        self._whole = whole

    def __getitem__(self, part: tuple[slice, slice]) -> NDArray[Any]:
        """Return some rows and columns, uint8."""
        rows, columns = (range(size)[side] for side, size in zip(part, self.shape[:2], strict=True))
        pixels = None
        is_part = rows.step == columns.step == 1 and 0 < len(rows) * len(columns) < self.shape[0] * self.shape[1]
        # The colours of a single column would be made without those beside it.
        if is_part and len(columns) > 1:
            pixels = _decode_part(self._data, self.shape[2], (rows.start, columns.start, rows.stop, columns.stop))
        return self._whole()[part] if pixels is None else pixels


def _decode_part(data: bytes, channels: int, box: tuple[int, int, int, int]) -> NDArray[Any] | None:
    """Decode a part, given by top, left, bottom and right; None where the file is broken before the part's end."""
    codec = _codec()
    assert codec is not None
    if not hasattr(_LOCAL, "decoder"):
        cpu = codec.Backend(codec.BackendKind.CPU_ONLY)
        _LOCAL.decoder = codec.Decoder(codec.NVIMGCODEC_DEVICE_CPU_ONLY, max_num_cpu_threads=1, backends=[cpu])
        colours = {1: codec.ColorSpec.GRAY, 3: codec.ColorSpec.SRGB}
        _LOCAL.params = {
            number: codec.DecodeParams(color_spec=colour, apply_exif_orientation=False)
            for number, colour in colours.items()
        }
    try:
        part = codec.CodeStream(data).get_sub_code_stream(region=codec.Region(*box))
        image = _LOCAL.decoder.decode(part, params=_LOCAL.params[channels])
    except RuntimeError:  # which its parsers raise
        return None
    return None if image is None else np.asarray(image.cpu())


#: The decoder of each thread.
_LOCAL: Final = threading.local()
#: One import at a time, as it leads standard error elsewhere for the whole process.
_IMPORTING: Final = threading.Lock()


def _codec() -> ModuleType | None:
    with _IMPORTING:
        return _imported()


@cache
def _imported() -> ModuleType | None:
    # At its import the library regrets on standard error that it finds no decoders for GPUs, and later it would tell of
    # each broken file, without the file's name.
    os.environ.setdefault("PYNVIMGCODEC_VERBOSITY", "0")
    try:
        with _silent():
            from nvidia import nvimgcodec
    except ImportError:
        return None
    codec: ModuleType = nvimgcodec
    return codec


@contextmanager
def _silent() -> Iterator[None]:
    """Lead what libraries write to standard error nowhere."""
    try:
        kept = os.dup(2)
    except OSError:  # It is closed.
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
