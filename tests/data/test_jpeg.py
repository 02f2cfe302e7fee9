"""Parts of JPEGs against the whole of them, as OpenCV decodes it."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import albumentations
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from resvision.data import jpeg
from resvision.data.classification import ClassificationDataset, FileSource
from resvision.data.errors import DataError
from resvision.data.fitting import fit_to
from resvision.data.jpeg import PartlyDecoded, can_decode_parts, jpeg_header
from resvision.data.reading import open_image, read_image
from resvision.data.sampler import SampleKey
from resvision.data.seeding import fold
from resvision.data.transforms import ClassificationTransform

needs_extra = pytest.mark.skipif(jpeg._codec() is None, reason="the extra jpeg is not installed")

_FACTORS = {name: getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}") for name in ("444", "422", "420", "440", "411")}


def _pixels(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return a picture of blots and noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 6 + 1, width // 6 + 1, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, 3)
    return (smooth.astype(int) + rng.integers(-20, 20, smooth.shape)).clip(0, 255).astype(np.uint8)


def _encoded(pixels: NDArray[np.uint8], **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def _by_opencv(pixels: NDArray[np.uint8], *options: int) -> bytes:
    return bytes(cv2.imencode(".jpg", pixels, list(options))[1])


def _turned(content: bytes, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    segment = exif.tobytes()
    return content[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2) + segment + content[2:]


@needs_extra
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("sampling", [*_FACTORS, "grey", "restarts"])
def test_parts__are_those_of_the_whole_picture(
    tmp_path: Path, sampling: str, progressive: int, channels: Literal[1, 3]
) -> None:
    rng = np.random.default_rng(0)
    for height, width in [(375, 500), (17, 33), (64, 64), (101, 3), (1, 1), (8, 200)]:
        pixels = _pixels(height, width)
        if sampling == "grey":
            content = _encoded(pixels[..., 0], progressive=bool(progressive))
        elif sampling == "restarts":
            content = _encoded(pixels, progressive=bool(progressive), restart_marker_blocks=3)
        else:
            content = _by_opencv(
                pixels, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _FACTORS[sampling], cv2.IMWRITE_JPEG_PROGRESSIVE, progressive
            )
        path = tmp_path / f"{height}x{width}.jpg"
        path.write_bytes(content)
        picture = open_image(path, channels)
        flag = cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE
        whole = np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), flag)).reshape(height, width, channels)
        assert isinstance(picture, PartlyDecoded) == (not progressive)
        assert picture.shape == whole.shape
        np.testing.assert_array_equal(picture[:, :], whole)
        for _ in range(8):
            (top, bottom), (left, right) = (np.sort(rng.integers(0, side + 1, 2)) for side in (height, width))
            pixels = picture[top:bottom, left:right]
            assert pixels.dtype == np.uint8
            np.testing.assert_array_equal(pixels, whole[top:bottom, left:right])
        for part in ((slice(-9, None), slice(None, -1)), (slice(0, 9, 2), slice(None, None, -1)), (slice(5, 2),) * 2):
            np.testing.assert_array_equal(picture[part], whole[part])


@needs_extra
def test_parts__are_decoded_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(_encoded(_pixels(60, 80)))
    expected = read_image(path)
    monkeypatch.setattr(cv2, "imdecode", None)
    np.testing.assert_array_equal(fit_to(open_image(path), (60, 60)), expected[:, 10:70])
    crop = ClassificationTransform([albumentations.RandomResizedCrop((20, 20))], 20)
    assert crop(open_image(path), seed=0).shape == (20, 20, 3)


@pytest.mark.parametrize("size", [(60, 80), (40, 40), (23, 90)])
def test_fit_to__takes_a_file_for_its_pixels(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(_encoded(_pixels(60, 80)))
    np.testing.assert_array_equal(fit_to(open_image(path), size), fit_to(read_image(path), size))


@pytest.mark.parametrize("with_extra", [True, False])
@pytest.mark.parametrize("strength", ["none", "light", "strong"])
def test_dataset__gives_the_same_pictures_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strength: Any, with_extra: bool
) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(4)]
    for number, path in enumerate(paths):
        content = _encoded(_pixels(70 + number, 90, seed=number))
        path.write_bytes(content if number < 3 else _turned(content, 6))
    if not with_extra:
        monkeypatch.setattr(jpeg, "_codec", lambda: None)
    dataset = ClassificationDataset(FileSource(paths, [0] * 4, 3), 32, ClassificationTransform(strength, 32), seed=5)
    from_arrays = ClassificationTransform(strength, 32)
    for epoch in range(5):
        for index in range(4):
            expected = from_arrays(read_image(paths[index]), seed=fold(5, "augment", epoch, index))
            np.testing.assert_array_equal(
                dataset[SampleKey(epoch, index)]["image"], fit_to(expected, (32, 32)), strict=True
            )


@needs_extra
def test_can_decode_parts__of_upright_whole_pictures_only() -> None:
    plain = _encoded(_pixels(30, 40))

    def can(content: bytes) -> bool:
        header = jpeg_header(content)
        return header is not None and can_decode_parts(header, content)

    assert can(plain)
    assert can(_turned(plain, 1))
    assert not any(can(_turned(plain, orientation)) for orientation in range(2, 9))
    assert not can(_encoded(_pixels(30, 40), progressive=True))
    assert not can(plain[:-1])
    cmyk = io.BytesIO()
    Image.new("CMYK", (40, 30)).save(cmyk, "JPEG")
    assert not can(cmyk.getvalue())


def _outcome(read: Callable[[], NDArray[Any]]) -> NDArray[Any] | str:
    try:
        return read()
    except DataError as error:
        return str(error)


def test_open_image__takes_and_refuses_broken_files_as_read_image_does(tmp_path: Path) -> None:
    content, rng = _encoded(_pixels(60, 80)), np.random.default_rng(0)
    path, refused = tmp_path / "a.jpg", 0
    for _ in range(300):
        broken = bytearray(content)
        start = rng.integers(2, len(content) - 40)
        if rng.integers(2):
            del broken[start : start + rng.integers(1, 1000)]
        else:
            broken[start] = rng.integers(256)
        path.write_bytes(broken)
        expected = _outcome(lambda: read_image(path))
        part = _outcome(lambda: open_image(path)[20:40, 5:50])
        np.testing.assert_array_equal(part, expected if isinstance(expected, str) else expected[20:40, 5:50])
        refused += isinstance(expected, str)
    assert 50 < refused < 250


@needs_extra
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_parts__are_decoded_in_processes_that_were_forked(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(_encoded(_pixels(60, 80)))
    picture = open_image(path)
    expected = picture[10:50, 20:60]
    child = os.fork()
    if child == 0:
        os._exit(0 if (picture[10:50, 20:60] == expected).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


@needs_extra
def test_codec__leaves_standard_error_as_it_was_whatever_the_number_of_threads() -> None:
    code = (
        "import sys, threading\n"
        "from resvision.data import jpeg\n"
        "threads = [threading.Thread(target=jpeg._codec) for _ in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "assert jpeg._codec() is not None\n"
        "print('here', file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == "here\n"


@needs_extra
@pytest.mark.skipif(os.name != "posix", reason="closes a file descriptor by number")
def test_codec__can_do_without_standard_error() -> None:
    code = "import os; os.close(2); from resvision.data import jpeg; print(jpeg._codec() is not None)"
    run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert run.stdout == "True\n"
