"""Kinds of files that one of the libraries reads wrongly: the numbers are those that were written by hand."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from resvision.data.errors import DataError
from resvision.data.reading import from_pillow, image_size, read_image, read_mask

_RNG = np.random.default_rng(0)


def _packed(values: NDArray[np.integer], bits: int, order: str) -> bytes:
    """Return rows of numbers, each row in whole bytes."""
    if bits >= 8:
        return values.astype(f"{order}u{bits // 8}").tobytes()
    single = (values.reshape(len(values), -1)[..., None] >> np.arange(bits)[::-1]) & 1
    return np.packbits(single.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


def _tiff(
    path: Path,
    values: NDArray[np.integer],
    *,
    bits: int = 16,
    photometric: int = 2,
    planar: int = 1,
    extra: int | None = None,
    form: int = 1,
    order: str = "<",
    tile: int | None = None,
    colours: list[int] | None = None,
) -> Path:
    """Write a TIFF without compression (TIFF 6.0) in one piece for each plane, or in square tiles."""
    pixels = values if values.ndim == 3 else values[..., None]
    height, width, samples = pixels.shape
    if tile:
        padded = np.pad(pixels, ((0, -height % tile), (0, -width % tile), (0, 0)))
        corners = [(y, x) for y in range(0, height, tile) for x in range(0, width, tile)]
        pieces = [_packed(padded[y : y + tile, x : x + tile], bits, order) for y, x in corners]
        places, lengths, shape = 324, 325, [(322, "H", [tile]), (323, "H", [tile])]
    else:
        planes = [pixels] if planar == 1 else [pixels[..., n : n + 1] for n in range(samples)]
        pieces = [_packed(plane, bits, order) for plane in planes]
        places, lengths, shape = 273, 279, [(278, "H", [height])]
    starts = [8 + sum(map(len, pieces[:number])) for number in range(len(pieces))]
    tags = [
        (256, "H", [width]),
        (257, "H", [height]),
        (258, "H", [bits] * samples),
        (259, "H", [1]),
        (262, "H", [photometric]),
        (277, "H", [samples]),
        (284, "H", [planar]),
        (339, "H", [form] * samples),
        (places, "I", starts),
        (lengths, "I", list(map(len, pieces))),
        *shape,
    ]
    tags += [(338, "H", [extra])] if extra is not None else []
    tags += [(320, "H", colours)] if colours else []
    start = 8 + sum(map(len, pieces))
    entries, behind = struct.pack(f"{order}H", len(tags)), b""
    for tag, kind, numbers in sorted(tags):
        content = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
        if len(content) > 4:
            place = start + 2 + 12 * len(tags) + 4 + len(behind)
            behind += content
            content = struct.pack(f"{order}I", place)
        entries += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[kind], len(numbers)) + content.ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    path.write_bytes(magic + struct.pack(f"{order}I", start) + b"".join(pieces) + entries + bytes(4) + behind)
    return path


def _numbers(*shape: int, below: int = 65536) -> NDArray[np.int64]:
    return _RNG.integers(0, below, shape)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("tile", [None, 16])
@pytest.mark.parametrize("extra", [None, 0, 2])
def test_tiff__of_16_bit_colours_keeps_them_and_drops_what_is_no_colour(
    tmp_path: Path, extra: int | None, tile: int | None, order: str
) -> None:
    values = _numbers(20, 35, 3 if extra is None else 4)
    path = _tiff(tmp_path / "a.tif", values, extra=extra, tile=tile, order=order)
    image = read_image(path)
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, values[..., :3])
    luma = values[..., :3] @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    assert np.abs(read_image(path, channels=1)[..., 0] - luma).max() <= 2


@pytest.mark.parametrize("tile", [None, 16])
@pytest.mark.parametrize(("photometric", "samples"), [(0, 1), (1, 1), (2, 3)])
def test_tiff__of_8_bits_is_read_in_tiles_too(tmp_path: Path, photometric: int, samples: int, tile: int | None) -> None:
    values = _numbers(20, 35, samples, below=256)
    path = _tiff(tmp_path / "a.tif", values, bits=8, photometric=photometric, tile=tile)
    expected = np.broadcast_to(255 - values if photometric == 0 else values, (20, 35, 3))
    np.testing.assert_array_equal(read_image(path), expected)
    np.testing.assert_array_equal(np.atleast_3d(read_mask(path)), expected[..., :samples])


@pytest.mark.parametrize("read", [read_image, read_mask])
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"planar": 2}, "in separate planes"),
        ({"planar": 2, "extra": 0}, "in separate planes"),
        ({"planar": 2, "extra": 2}, "in separate planes"),
        ({"photometric": 5}, "that are not RGB"),
        ({"extra": 1}, "multiplied by the transparency"),
    ],
)
def test_tiff__of_16_bit_colours_that_no_library_reads_is_refused(
    tmp_path: Path, read: object, options: dict[str, int], reason: str
) -> None:
    assert callable(read)
    samples = 3 if options == {"planar": 2} else 4
    path = _tiff(tmp_path / "a.tif", _numbers(5, 7, samples), **options)  # type: ignore[arg-type]
    message = rf"a\.tif: channels of 16 bits {reason}; save it as RGB with planarconfig contig, or as PNG$"
    with pytest.raises(DataError, match=message):
        read(path)


@pytest.mark.parametrize("samples", [3, 4])
def test_tiff__of_8_bit_planes_is_read(tmp_path: Path, samples: int) -> None:
    values = _numbers(5, 7, samples, below=256)
    path = _tiff(tmp_path / "a.tif", values, bits=8, planar=2, extra=None if samples == 3 else 2)
    np.testing.assert_array_equal(read_image(path), values[..., :3])


def test_tiff__of_16_bits_whose_white_is_zero_is_black_at_the_other_end(tmp_path: Path) -> None:
    values = _numbers(5, 7)
    path = _tiff(tmp_path / "a.tif", values, photometric=0)
    np.testing.assert_array_equal(read_image(path, channels=1)[..., 0], 65535 - values)
    np.testing.assert_array_equal(from_pillow(Image.open(path))[..., 2], 65535 - values)
    np.testing.assert_array_equal(read_mask(path), 65535 - values)


def test_tiff__of_12_bits_is_stretched_as_a_picture_alone(tmp_path: Path) -> None:
    values = _numbers(6, 8, below=4096)
    values[0, :2] = 0, 4095
    first, second = values[:, ::2], values[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=2)
    path = _tiff(tmp_path / "a.tif", packed.reshape(6, 12), bits=8, photometric=1)
    content = path.read_bytes()
    for tag, before, after in ((256, 12, 8), (258, 8, 12)):
        entry = struct.pack("<HHI", tag, 3, 1)
        content = content.replace(entry + struct.pack("<I", before), entry + struct.pack("<I", after))
    path.write_bytes(content)
    np.testing.assert_array_equal(read_image(path)[..., 0], (2 * values * 65535 + 4095) // (2 * 4095))
    np.testing.assert_array_equal(read_mask(path), values)


@pytest.mark.parametrize("photometric", [0, 1, 3])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_tiff__of_few_bits_is_a_mask_of_its_values(tmp_path: Path, bits: int, photometric: int) -> None:
    white = 2**bits - 1
    values = _numbers(5, 9, below=white + 1)
    colours = _numbers(3, white + 1, below=256)
    palette = (colours * 257).ravel().tolist() if photometric == 3 else None
    path = _tiff(tmp_path / "a.tif", values, bits=bits, photometric=photometric, colours=palette)
    expected = white - values if photometric == 0 else values
    np.testing.assert_array_equal(read_mask(path), expected)
    rgb = colours.T[values] if palette else np.repeat(expected[..., None] * 255 // white, 3, axis=2)
    np.testing.assert_array_equal(read_image(path), rgb)


def test_tiff__of_a_palette_that_was_written_in_bytes_is_not_black(tmp_path: Path) -> None:
    values, colours = _numbers(5, 9, below=256), _numbers(3, 256, below=256)
    path = _tiff(tmp_path / "a.tif", values, bits=8, photometric=3, colours=colours.ravel().tolist())
    np.testing.assert_array_equal(read_image(path), colours.T[values])
    np.testing.assert_array_equal(read_mask(path), values)


def test_tiff__of_ycbcr_without_compression_has_its_greys(tmp_path: Path) -> None:
    blocks = _numbers(4, 8, 6, below=256)  # of 2 by 2 pixels: four luminances, and the two colours, here none
    blocks[..., 4:] = 128
    path = _tiff(tmp_path / "a.tif", np.zeros((8, 16, 3), np.uint8), bits=8, photometric=6)
    content = path.read_bytes()
    path.write_bytes(content[:8] + blocks.astype(np.uint8).tobytes() + content[8 + blocks.size :])
    luma = blocks[..., :4].reshape(4, 8, 2, 2).swapaxes(1, 2).reshape(8, 16, 1)
    assert np.abs(read_image(path).astype(int) - luma).max() <= 1


@pytest.mark.parametrize("compression", ["zstd", "lzma", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "I;16"])
def test_tiff__is_read_whatever_lossless_compression_it_has(tmp_path: Path, mode: str, compression: str) -> None:
    values = _numbers(20, 30).astype(np.uint16)
    colours = Image.fromarray(_numbers(20, 30, 4, below=256).astype(np.uint8), "RGBA")
    picture = Image.fromarray(values) if mode == "I;16" else colours.convert("RGB").convert(mode)
    picture.save(tmp_path / "a.tif", compression=compression)
    image = read_image(tmp_path / "a.tif")
    expected = values[..., None].repeat(3, 2) if mode == "I;16" else np.asarray(picture.convert("RGB"))
    assert image.dtype == expected.dtype
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize(
    ("bits", "form", "kind"),
    [
        (8, 2, "8 bits with a sign"),
        (16, 2, "16 bits with a sign"),
        (32, 1, "32 bits"),
        (32, 2, "32 bits with a sign"),
        (32, 3, "32 bits in floating point"),
    ],
)
def test_tiff__of_other_numbers_is_refused_as_a_picture(tmp_path: Path, bits: int, form: int, kind: str) -> None:
    path = _tiff(tmp_path / "a.tif", _numbers(5, 7, below=100), bits=bits, photometric=1, form=form)
    with pytest.raises(DataError, match=rf"a\.tif: pixels of {kind}; save it with 8 or 16 bits for a channel, without"):
        read_image(path)


@pytest.mark.parametrize("bits", [16, 32])
def test_tiff__of_numbers_with_a_sign_is_a_mask(tmp_path: Path, bits: int) -> None:
    values = _numbers(5, 7, below=100) - 1
    path = _tiff(tmp_path / "a.tif", values % 2**bits, bits=bits, photometric=1, form=2)
    np.testing.assert_array_equal(read_mask(path), values)


_BAD = r"a\.tif: the TIFF is damaged, or of a kind that cannot be read; save it as PNG, replace or remove it$"


@pytest.mark.parametrize("read", [read_image, read_mask, image_size])
def test_tiff__that_pillow_does_not_know_is_told_from_other_files(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(DataError, match=_BAD):
        read(_tiff(tmp_path / "a.tif", _numbers(5, 7, 3), photometric=1))


@pytest.mark.parametrize("read", [read_image, read_mask])
@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_tiff__that_is_damaged_within_is_refused(tmp_path: Path, read: object, compression: str) -> None:
    assert callable(read)
    buffer = io.BytesIO()
    Image.fromarray(_numbers(60, 80, 3, below=256).astype(np.uint8)).save(buffer, "TIFF", compression=compression)
    content = bytearray(buffer.getvalue())
    content[5000:5200] = bytes(200)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(DataError, match=_BAD):
        read(tmp_path / "a.tif")


def _pnm(path: Path, kind: int, maxval: int, values: NDArray[np.integer]) -> Path:
    """Write a picture in one of the formats P2, P3, P5 and P6, with remarks."""
    height, width = values.shape[:2]
    if kind < 4:
        body = b"\n".join(b" ".join(b"%d" % number for number in row.ravel()) for row in values) + b"\n"
    else:
        body = values.astype(np.uint8 if maxval < 256 else ">u2").tobytes()
    path.write_bytes(b"P%d # of 9 9\n%d %d\n# 9\n%d\n" % (kind, width, height, maxval) + body)
    return path


@pytest.mark.parametrize("kind", [2, 3, 5, 6])
@pytest.mark.parametrize("maxval", [1, 100, 255, 256, 1023, 65535])
def test_pnm__is_stretched_as_a_picture_and_left_alone_as_a_mask(tmp_path: Path, kind: int, maxval: int) -> None:
    samples = 3 if kind in (3, 6) else 1
    values = _numbers(5, 7, samples, below=maxval + 1)
    values[0, :2] = [[0], [maxval]]
    path = _pnm(tmp_path / "a.pnm", kind, maxval, values)
    full = 255 if maxval < 256 else 65535
    image = read_image(path)
    assert image.dtype == (np.uint8 if maxval < 256 else np.uint16)
    expected = (2 * values * full + maxval) // (2 * maxval)  # to the nearest number
    np.testing.assert_array_equal(image, np.broadcast_to(expected, image.shape))
    luma = expected[..., 0] if samples == 1 else expected @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    assert np.abs(read_image(path, channels=1)[..., 0] - luma).max() <= full / maxval / 2 + 2
    if samples == 1 or maxval < 256:
        np.testing.assert_array_equal(np.atleast_3d(read_mask(path)), values)


@pytest.mark.parametrize("kind", [3, 6])
def test_pnm__of_deep_colours_is_no_mask(tmp_path: Path, kind: int) -> None:
    path = _pnm(tmp_path / "a.ppm", kind, 1023, _numbers(5, 7, 3, below=1024))
    with pytest.raises(DataError, match=r"a\.ppm: a mask of colours of 16 bits; save it with 8 bits for a channel$"):
        read_mask(path)


@pytest.mark.parametrize("kind", [2, 5])
@pytest.mark.parametrize("maxval", [100, 1023])
def test_pnm__that_is_cut_short_is_named(tmp_path: Path, kind: int, maxval: int) -> None:
    path = _pnm(tmp_path / "a.pgm", kind, maxval, _numbers(20, 30, below=maxval + 1))
    path.write_bytes(path.read_bytes()[:-40])
    for read in (read_image, read_mask):
        with pytest.raises(DataError, match=r"a\.pgm: the picture is damaged or cut short; replace or remove it$"):
            read(path)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _moving(values: NDArray[np.integer], damage: bool = False) -> bytes:
    """Return a PNG of two frames, the second of which is black."""
    bits = 8 * values.dtype.itemsize
    frames = [
        zlib.compress(b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in frame))
        for frame in (values, np.zeros_like(values))
    ]
    height, width = values.shape[:2]
    if damage:
        frames[0] = frames[0][:40] + bytes(20) + frames[0][60:]
    control = [struct.pack(">IIIIIHHBB", number, width, height, 0, 0, 1, 10, 0, 0) for number in (0, 1)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)),
            _chunk(b"acTL", struct.pack(">II", 2, 0)),
            _chunk(b"fcTL", control[0]),
            _chunk(b"IDAT", frames[0]),
            _chunk(b"fcTL", control[1]),
            _chunk(b"fdAT", struct.pack(">I", 2) + frames[1]),
            _chunk(b"IEND", b""),
        ]
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png__that_moves_gives_its_first_frame(tmp_path: Path, dtype: type) -> None:
    values: NDArray[np.integer] = _numbers(20, 30, 3, below=np.iinfo(dtype).max + 1).astype(dtype)
    path = tmp_path / "a.png"
    path.write_bytes(_moving(values))
    with Image.open(path) as opened:
        assert opened.n_frames == 2  # type: ignore[attr-defined]
    image = read_image(path)
    assert image.dtype == dtype
    np.testing.assert_array_equal(image, values)
    assert read_image(path, channels=1).shape == (20, 30, 1)


def test_png__that_moves_and_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(_moving(_numbers(20, 30, 3, below=256).astype(np.uint8), damage=True))
    for read in (read_image, read_mask):
        with pytest.raises(DataError, match=r"a\.png: the picture is damaged or cut short; replace or remove it$"):
            read(path)


@pytest.mark.parametrize(("bits", "greys"), [(1, [0, 255]), (4, [*range(16)]), (8, [0, 255]), (8, [*range(256)])])
def test_bmp__of_a_grey_palette_is_a_mask_of_its_indices(tmp_path: Path, bits: int, greys: list[int]) -> None:
    values = _numbers(5, 16, below=len(greys))
    palette = b"".join(bytes([grey, grey, grey, 0]) for grey in greys)
    rows = _packed(values[::-1].reshape(5, 16), bits, "<")
    pitch = len(rows) // 5
    body = b"".join(rows[at : at + pitch].ljust(-(-pitch // 4) * 4, b"\0") for at in range(0, len(rows), pitch))
    header = struct.pack("<IiiHHIIiiII", 40, 16, 5, 1, bits, 0, len(body), 0, 0, len(greys), 0)
    start = 14 + len(header) + len(palette)
    path = tmp_path / "a.bmp"
    path.write_bytes(b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + header + palette + body)
    np.testing.assert_array_equal(read_mask(path), values)
    np.testing.assert_array_equal(read_image(path)[..., 0], np.array(greys)[values])


def test_bmp__of_grey_is_a_mask_of_its_values(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(8, 32)
    cv2.imwrite(str(tmp_path / "a.bmp"), values)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.bmp"), values)
