"""Orientation by Exif tags: the same for every reader here, and of nothing else."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from resvision.data.orientation import orientation_of, upright
from resvision.data.reading import from_pillow, image_size, open_image, read_image, read_mask

_PIXELS = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
_XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


def _exif(kind: int, value: int, *, order: str = "<", tag: int = 0x0112, count: int = 1) -> bytes:
    """Return tags with one entry of a type, before and behind which others stand."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    size = {1: "Bxxx", 3: "Hxx", 4: "I"}[kind]
    entries = [
        struct.pack(f"{order}HHIHxx", 0x0100, 3, 1, 6),
        struct.pack(f"{order}HHI{size}", tag, kind, count, value),
    ]
    return b"Exif\0\0" + start + struct.pack(f"{order}IH", 8, 2) + b"".join(entries) + bytes(4)


def _jpeg(*segments: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(_PIXELS).save(buffer, "JPEG")
    content = buffer.getvalue()
    return content[:2] + b"".join(segments) + content[2:]


def _segment(content: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("value", range(1, 9))
def test_orientation_of__reads_both_orders_and_sizes(value: int, kind: int, order: str) -> None:
    exif = _exif(kind, value, order=order)
    assert orientation_of(exif) == orientation_of(exif.removeprefix(b"Exif\0\0")) == value
    tags = Image.Exif()
    tags.load(exif)
    assert tags[0x0112] == value


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"garbage" * 9,
        _exif(3, 0),
        _exif(3, 9),
        _exif(1, 6),
        _exif(3, 6, tag=0x0113),
        _exif(3, 6)[:-10],
    ],
)
def test_orientation_of__takes_what_is_broken_or_missing_for_upright(exif: bytes) -> None:
    assert orientation_of(exif) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_upright__turns_as_pillow_does(orientation: int, dtype: type) -> None:
    image = Image.fromarray(_PIXELS)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(upright(_PIXELS.astype(dtype), orientation), expected)
    np.testing.assert_array_equal(upright(_PIXELS[..., 0].astype(dtype), orientation), expected[..., 0])


@pytest.mark.parametrize(
    ("content", "is_turned"),
    [
        (_jpeg(_segment(_exif(3, 6))), True),
        (_jpeg(_segment(_exif(4, 6, order=">"))), True),
        (_jpeg(_segment(_exif(3, 6)), _segment(_exif(3, 1))), True),
        (_jpeg(_segment(_exif(3, 1)), _segment(_exif(3, 6))), False),
        (_jpeg(_segment(_exif(1, 6))), False),
        (_jpeg(_segment(b"http://ns.adobe.com/xap/1.0/\0" + _XMP)), False),
        (_jpeg(_segment(_exif(3, 6, count=0))), True),
    ],
)
def test_orientation__of_a_jpeg_is_one_for_all_readers(tmp_path: Path, content: bytes, is_turned: bool) -> None:
    # Behind the frame header too, where some programs put it.
    plain = _jpeg()
    frame = plain.index(b"\xff\xc0")
    behind = frame + 2 + int.from_bytes(plain[frame + 2 : frame + 4])
    added = content[2 : 2 + len(content) - len(plain)]
    for number, data in enumerate((content, plain[:behind] + added + plain[behind:])):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(data)
        expected = np.rot90(_read(plain, tmp_path), -1 if is_turned else 0)
        np.testing.assert_array_equal(read_image(path), expected)
        np.testing.assert_array_equal(open_image(path)[2:9, 3:8], expected[2:9, 3:8])
        assert open_image(path).shape == expected.shape
        assert image_size(path) == expected.shape[:2] == read_mask(path).shape[:2]
        assert from_pillow(Image.open(path)).shape == expected.shape


def _read(content: bytes, folder: Path) -> NDArray[np.uint8]:
    path = folder / "plain.jpg"
    path.write_bytes(content)
    return read_image(path)


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", _exif(3, 6)])
def test_orientation__of_a_webp_is_one_for_all_readers(tmp_path: Path, exif: bytes) -> None:
    path = tmp_path / "a.webp"
    Image.fromarray(_PIXELS).save(path, exif=exif, xmp=_XMP)
    assert image_size(path) == read_image(path).shape[:2] == read_mask(path).shape[:2]
    assert (image_size(path) == (50, 30)) == (exif == _exif(3, 6))


def test_orientation__of_a_png_is_not_that_of_a_raw_profile_or_xmp(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(_PIXELS).save(buffer, "PNG")
    profile = f"\nexif\n{len(_exif(3, 6)):8}\n{_exif(3, 6).hex()}\n".encode()
    chunks = b""
    for kind, content in (
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _XMP),
    ):
        chunks += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    path = tmp_path / "a.png"
    path.write_bytes(buffer.getvalue()[:33] + chunks + buffer.getvalue()[33:])
    for pixels in (read_image(path), read_mask(path), from_pillow(Image.open(path))):
        np.testing.assert_array_equal(pixels, _PIXELS)
    assert image_size(path) == (30, 50)
