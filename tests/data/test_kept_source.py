from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from resvision.data import kept_source
from resvision.data.classification import ClassificationSource, FileSource
from resvision.data.kept_source import KeptSource, keep_decoded, memory


@pytest.fixture
def source(tmp_path: Path) -> FileSource:
    """Pictures of several sizes; picture 2 has 16 bits."""
    files = []
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (5 + number, 7, 3))
        files.append(tmp_path / f"{number}.png")
        assert cv2.imwrite(str(files[-1]), pixels.astype(np.uint16 if number == 2 else np.uint8))
    return FileSource(files, [3, 1, 4, 1], 3)


def _remove(source: ClassificationSource, *indices: int) -> None:
    for index in indices:
        Path(source.name(index)).unlink()


def _read_all(source: ClassificationSource) -> list[tuple[NDArray[Any], Any]]:
    return [source.read(index) for index in range(len(source))]


@pytest.mark.parametrize("shared", [False, True])
def test_pictures__are_read_once_and_stay_the_same(source: FileSource, shared: bool) -> None:
    expected = _read_all(source)
    kept = keep_decoded(source, 3, 10_000, shared=shared)
    assert isinstance(kept, KeptSource)
    assert kept.nbytes == (5 + 6 + 7 + 8) * 7 * 3
    for _ in range(2):
        for (image, label), (wanted, wanted_label) in zip(_read_all(kept), expected, strict=True):
            assert image.dtype == wanted.dtype
            np.testing.assert_array_equal(image, wanted)
            assert label == wanted_label
        _remove(source, *(index for index in (0, 1, 3) if Path(source.name(index)).exists()))


def test_picture__that_is_changed_by_its_reader_stays_as_it_is_kept(source: FileSource) -> None:
    kept = keep_decoded(source, 3, 10_000, shared=False)
    wanted = kept.read(0)[0].copy()
    for _ in range(3):
        image = kept.read(0)[0]
        np.testing.assert_array_equal(image, wanted)
        image[...] = 0


def test_pictures__that_do_not_fit_are_not_kept(source: FileSource) -> None:
    needed = (5 + 6 + 7 + 8) * 7 * 3
    assert keep_decoded(source, 3, needed - 1, shared=False) is source
    assert keep_decoded(source, 3, needed, shared=False) is not source


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_processes__share_what_one_of_them_has_read(source: FileSource, method: str) -> None:
    expected = _read_all(source)
    kept = keep_decoded(source, 3, 10_000, shared=True)
    process = get_context(method).Process(target=_read_all, args=(kept,))  # type: ignore[attr-defined]
    process.start()
    process.join(300)
    assert process.exitcode == 0
    _remove(source, 0, 1, 3)
    for index in (0, 1, 3):
        np.testing.assert_array_equal(kept.read(index)[0], expected[index][0])


def test_memory__is_that_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(kept_source, "_CGROUP_LIMITS", (limit,))
    machine = memory()
    assert machine > 2**20
    for text, expected in (("max\n", machine), ("1048576\n", 2**20)):
        limit.write_text(text)
        assert memory() == expected
