from pathlib import Path

import cv2
import numpy as np
import pytest

from resvision.data.bad_images import find_bad
from resvision.data.classification import FileSource
from resvision.data.errors import DataError


def _source(folder: Path, count: int, *bad: int) -> FileSource:
    for number in range(count):
        path = folder / f"{number:03d}.png"
        assert cv2.imwrite(str(path), np.full((4, 4, 3), number, np.uint8))
        if number in bad:
            path.write_bytes(path.read_bytes()[:-20])
    return FileSource(sorted(folder.iterdir()), [number * 10 for number in range(count)], 3)


def test_bad_pictures__are_found_with_their_reasons(tmp_path: Path) -> None:
    source = _source(tmp_path, 80, 3, 70)
    assert find_bad(source, 0.02) == {
        number: f"{tmp_path}/0{number:02d}.png: the picture is damaged or cut short; replace or remove it"
        for number in (3, 70)
    }


@pytest.mark.parametrize(("budget", "most"), [(0.0, 0), (0.01, 1), (0.025, 2)])
def test_bad_pictures__beyond_the_budget_are_an_error(tmp_path: Path, budget: float, most: int) -> None:
    message = (
        rf"^.*/005\.png: the picture is damaged .*; more than {most} of 80 pictures are bad, as many as skip_budget "
        rf"{budget} lets skip: mend them, or raise skip_budget$"
    )
    with pytest.raises(DataError, match=message):
        find_bad(_source(tmp_path, 80, 5, 6, 7), budget)
