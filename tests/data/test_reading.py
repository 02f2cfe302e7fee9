import io
import struct
import threading
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from resvision.data.errors import DataError
from resvision.data.reading import _QUIET, MAX_PIXELS, image_size, read_image, read_mask

_RNG = np.random.default_rng(0)
_COLOURS: NDArray[np.uint8] = _RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
_SMOOTH = np.asarray(Image.fromarray(_COLOURS).resize((70, 50), Image.Resampling.BICUBIC))


def _save(path: Path, mode: str, **options: object) -> NDArray[np.uint8]:
    """Save the colours in a mode of Pillow; return what Pillow makes of them in RGB."""
    picture = Image.fromarray(_COLOURS).convert(mode)
    picture.save(path, **options)  # type: ignore[arg-type]
    return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm", ".webp"])
def test_read_image__is_lossless_for_lossless_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    expected = _save(path, "RGB", **({"lossless": True} if suffix == ".webp" else {}))
    image = read_image(path)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_read_image__makes_rgb_of_every_mode(tmp_path: Path, mode: str) -> None:
    expected = _save(tmp_path / "a.png", mode)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_read_image__reads_cmyk(tmp_path: Path) -> None:
    Image.fromarray(_SMOOTH).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    difference = read_image(tmp_path / "a.jpg").astype(int) - _SMOOTH
    assert np.abs(difference).mean() < 3  # Lossy, and two roundings of the conversion.


def test_read_image__decodes_jpeg_as_pillow_does(tmp_path: Path) -> None:
    Image.fromarray(_SMOOTH).save(tmp_path / "a.jpg", quality=90)
    difference = read_image(tmp_path / "a.jpg").astype(int) - np.asarray(Image.open(tmp_path / "a.jpg"))
    assert np.abs(difference).max() <= 2


def test_read_image__makes_grey_by_luma(tmp_path: Path) -> None:
    _save(tmp_path / "a.png", "RGB")
    expected = _COLOURS @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    image = read_image(tmp_path / "a.png", channels=1)
    assert image.shape == (5, 7, 1)
    assert np.abs(image[..., 0] - expected).max() <= 1


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_read_image__keeps_16_bits(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    values = _RNG.integers(0, 65536, shape, dtype=np.uint16)
    path = tmp_path / f"a{suffix}"
    assert cv2.imwrite(str(path), values if len(shape) == 2 else values[..., ::-1])
    image = read_image(path)
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, values[..., None].repeat(3, 2) if len(shape) == 2 else values)
    assert read_image(path, channels=1).shape == (5, 7, 1)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation__is_applied_to_picture_mask_and_size(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray(_SMOOTH).save(path, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert np.abs(read_image(path).astype(int) - expected).max() <= 2
    np.testing.assert_array_equal(read_mask(path), expected)
    assert image_size(path) == expected.shape[:2] == ((70, 50) if orientation > 4 else (50, 70))


@pytest.mark.parametrize("transparency", [None, 0])
def test_read_image__reads_the_first_frame_of_a_moving_picture(tmp_path: Path, transparency: int | None) -> None:
    first, second = (Image.fromarray(pixels).convert("P") for pixels in (_COLOURS, 255 - _COLOURS))
    options = {} if transparency is None else {"transparency": transparency}
    for suffix in (".gif", ".webp"):
        path = tmp_path / f"a{suffix}"
        extra = options if suffix == ".gif" else {"lossless": True}
        first.save(path, save_all=True, append_images=[second], duration=100, **extra)
        np.testing.assert_array_equal(read_image(path), np.asarray(first.convert("RGB")))
        assert read_image(path, channels=1).shape == (5, 7, 1)
        assert image_size(path) == (5, 7)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_read_image__drops_the_transparency_of_a_tiff(tmp_path: Path, mode: str) -> None:
    alpha = Image.fromarray(_RNG.integers(0, 256, (5, 7), dtype=np.uint8), "L")
    picture = Image.fromarray(_COLOURS).convert(mode)
    picture.putalpha(alpha)
    picture.save(tmp_path / "a.tif")
    expected = np.asarray(Image.fromarray(_COLOURS).convert(mode.removesuffix("A")).convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), expected)
    assert read_image(tmp_path / "a.tif", channels=1).shape == (5, 7, 1)


def test_read_mask__gives_palette_indices_and_not_colours(tmp_path: Path) -> None:
    indices = _RNG.integers(0, 4, (5, 7), dtype=np.uint8)
    mask = Image.fromarray(indices, "L").convert("P")
    mask.putdata(indices.ravel().tolist())
    mask.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200, 0, 0, 0])
    mask.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), indices)


@pytest.mark.parametrize(("mode", "shape"), [("1", (5, 7)), ("L", (5, 7)), ("RGB", (5, 7, 3)), ("RGBA", (5, 7, 3))])
def test_read_mask__gives_raw_values(tmp_path: Path, mode: str, shape: tuple[int, ...]) -> None:
    picture = Image.fromarray(_COLOURS).convert(mode)
    picture.save(tmp_path / "a.png")
    mask = read_mask(tmp_path / "a.png")
    assert mask.dtype == np.uint8
    expected = np.asarray(picture).astype(np.uint8)
    np.testing.assert_array_equal(mask, expected[..., :3] if len(shape) == 3 else expected)


def test_read_mask__gives_grey_of_transparent_grey(tmp_path: Path) -> None:
    grey = Image.fromarray(_COLOURS).convert("LA")
    grey.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), np.asarray(grey)[..., 0])


def test_read_mask__keeps_16_bits(tmp_path: Path) -> None:
    values = _RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), values)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), values)


def test_read_mask__refuses_other_kinds_of_pixel(tmp_path: Path) -> None:
    _save(tmp_path / "a.tif", "CMYK")
    with pytest.raises(DataError, match=r"a\.tif: a mask of kind 'CMYK'; save it as a grey, palette or RGB PNG"):
        read_mask(tmp_path / "a.tif")


_READERS = pytest.mark.parametrize("read", [read_image, read_mask])
_ALL = pytest.mark.parametrize("read", [read_image, read_mask, image_size])


@_ALL
def test_missing_file__is_named(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(DataError, match=r"none\.png: there is no such file$"):
        read(tmp_path / "none.png")


@_ALL
def test_folder_in_place_of_a_file__is_named(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(DataError, match=r"cannot be read: Is a directory$"):
        read(tmp_path)


@_ALL
def test_empty_file__is_named(tmp_path: Path, read: object) -> None:
    assert callable(read)
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"a\.png: the file is empty; replace or remove it$"):
        read(tmp_path / "a.png")


@_ALL
@pytest.mark.parametrize("content", [b"no picture at all", b"%PDF-1.7" + bytes(40)])
def test_other_content__is_named(tmp_path: Path, read: object, content: bytes) -> None:
    assert callable(read)
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: not a picture that can be read; use BMP, GIF, JPEG, PNG"):
        read(tmp_path / "a.png")


@_READERS
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".bmp", ".ppm", ".gif"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_truncated_file__is_named_and_nothing_else_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], read: object, suffix: str, kept: float
) -> None:
    assert callable(read)
    buffer = io.BytesIO()
    Image.fromarray(_SMOOTH).save(buffer, Image.registered_extensions()[suffix])
    path = tmp_path / f"a{suffix}"
    path.write_bytes(buffer.getvalue()[: int(len(buffer.getvalue()) * kept)])
    said = "the TIFF is damaged, or of a kind that cannot be read; save it as PNG, replace or remove it"
    said = said if suffix == ".tif" else "the picture is damaged or cut short; replace or remove it"
    with pytest.raises(DataError, match=rf"a\{suffix}: {said}$"):
        read(path)
    assert capfd.readouterr() == ("", "")


def _png_header(width: int, height: int) -> bytes:
    """Return the start of a PNG that claims a size."""
    content = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(100))
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (content, data, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@_ALL
@pytest.mark.parametrize("limited", [True, False])
def test_decompression_bomb__is_refused_from_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: object, limited: bool
) -> None:
    assert callable(read)
    if not limited:  # Other libraries lift Pillow's limit for the whole process.
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    (tmp_path / "a.png").write_bytes(_png_header(20_000, 20_000))
    with pytest.raises(DataError, match=rf"a\.png: more than {MAX_PIXELS:,} pixels; cut the picture into tiles$"):
        read(tmp_path / "a.png")


def _jpeg(size: tuple[int, int], **options: object) -> bytes:
    """Return a JPEG of 50x70 pixels whose frame header claims a height and width."""
    buffer = io.BytesIO()
    Image.fromarray(_SMOOTH).save(buffer, "JPEG", **options)
    return buffer.getvalue().replace(struct.pack(">HH", 50, 70), struct.pack(">HH", *size), 1)


@_ALL
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"exif": b"Exif\0\0" + bytes(300), "comment": b"\xff\xc0"}]
)
def test_decompression_bomb__that_is_a_jpeg_is_refused_from_its_header(
    tmp_path: Path, read: object, options: dict[str, object]
) -> None:
    assert callable(read)
    (tmp_path / "a.jpg").write_bytes(_jpeg((20_000, 20_000), **options))
    with pytest.raises(DataError, match=rf"a\.jpg: more than {MAX_PIXELS:,} pixels; cut the picture into tiles$"):
        read(tmp_path / "a.jpg")


def test_read_image__decodes_no_broken_jpeg_that_claims_too_many_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[NDArray[np.uint8]] = []
    decode = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda data, _: decoded.append(data))
    content, path, rng = _jpeg((20_000, 20_000)), tmp_path / "a.jpg", np.random.default_rng(0)
    frame = content.index(b"\xff\xc0")
    for _ in range(500):
        broken = bytearray(content)
        for at in [*rng.integers(0, len(content) // 2, 2), *rng.integers(frame, frame + 10, rng.integers(2))]:
            broken[at] = rng.choice([0, 1, 0xC0, 0xC1, 0xC9, 0xD8, 0xDA, 0xFF, int(rng.integers(256))])
        path.write_bytes(broken)
        with pytest.raises(DataError):
            read_image(path)
    assert 10 < len(decoded) < 250  # Where the size itself was broken.
    for data in decoded:
        small = decode(data, cv2.IMREAD_REDUCED_GRAYSCALE_8)  # What the decoder takes for the size, cheaply.
        assert small is None or 64 * small.size <= 1.01 * MAX_PIXELS


def test_image_size__of_a_large_picture_within_the_limit_warns_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_png_header(12_000, 12_000))
    assert image_size(tmp_path / "a.png") == (12_000, 12_000)


def test_read_image__refuses_floating_point(tmp_path: Path) -> None:
    Image.fromarray(np.ones((5, 7), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif: "):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_read_mask__gives_the_values_of_a_png_of_few_bits(tmp_path: Path, bits: int) -> None:
    values = _RNG.integers(0, 2**bits, (5, 8), dtype=np.uint8)
    packed = np.packbits(np.unpackbits(values[..., None], axis=2)[..., -bits:].reshape(5, -1), axis=1)
    header = struct.pack(">IIBBBBB", 8, 5, bits, 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    chunks = [b"IHDR" + header, b"IDAT" + zlib.compress(rows), b"IEND"]
    content = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), values)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_read_image__says_that_32_bits_are_too_many(tmp_path: Path, dtype: type) -> None:
    Image.fromarray(np.ones((5, 7), dtype)).save(tmp_path / "a.tif")
    for channels in (1, 3):
        with pytest.raises(DataError, match=r"a\.tif: pixels of .*32.*; save it with 8 or 16 bits"):
            read_image(tmp_path / "a.tif", channels)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_image_size__knows_a_png_whose_tags_stand_behind_its_pixels(
    tmp_path: Path, orientation: int, late: bool
) -> None:
    tags, buffer = Image.Exif(), io.BytesIO()
    tags[274] = orientation
    Image.fromarray(_COLOURS).save(buffer, "PNG")
    content = b"eXIf" + tags.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    before = buffer.getvalue()
    at = len(before) - 12 if late else 33  # before the end, or behind the header
    path = tmp_path / "a.png"
    path.write_bytes(before[:at] + chunk + before[at:])
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    np.testing.assert_array_equal(read_image(path), expected)
    assert image_size(path) == expected.shape[:2] == ((7, 5) if orientation > 4 else (5, 7))


@pytest.mark.parametrize("tags", [b"", b"garbage", b"MM\0*\0\0\0\x08\0\x01"])
def test_image_size__overlooks_broken_tags(tmp_path: Path, tags: bytes) -> None:
    buffer = io.BytesIO()
    Image.fromarray(_COLOURS).save(buffer, "PNG")
    content, before = b"eXIf" + tags, buffer.getvalue()
    chunk = struct.pack(">I", len(tags)) + content + struct.pack(">I", zlib.crc32(content))
    (tmp_path / "a.png").write_bytes(before[:33] + chunk + before[33:])
    assert image_size(tmp_path / "a.png") == read_image(tmp_path / "a.png").shape[:2] == (5, 7)


def test_quiet__sets_the_level_of_logging_back_when_the_last_thread_has_gone() -> None:
    before = cv2.utils.logging.getLogLevel()
    barrier = threading.Barrier(8)

    def read() -> None:
        barrier.wait()
        for _ in range(200):
            with _QUIET:
                assert cv2.utils.logging.getLogLevel() == 0

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cv2.utils.logging.getLogLevel() == before > 0
