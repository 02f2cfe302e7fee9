from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from resvision.data.fitting import fit_to

_RNG = np.random.default_rng(0)


def test_fit_to__leaves_a_picture_of_the_size_alone() -> None:
    image = _RNG.integers(0, 256, (28, 28, 1), dtype=np.uint8)
    fitted = fit_to(image, (28, 28))
    assert np.shares_memory(fitted, image)
    np.testing.assert_array_equal(fitted, image)


def test_fit_to__averages_blocks_of_the_middle() -> None:
    image = _RNG.integers(0, 256, (12, 30, 3), dtype=np.uint8)
    blocks = image[:, 9:21].reshape(4, 3, 4, 3, 3).mean(axis=(1, 3))
    assert np.abs(fit_to(image, (4, 4)) - blocks).max() <= 0.5


def test_fit_to__resizes_as_pillow_does_before_it_cuts_the_middle() -> None:
    smooth = Image.fromarray(_RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((384, 288), 3)
    expected = np.asarray(smooth.resize((128, 96), Image.Resampling.BOX).crop((16, 0, 112, 96)))
    difference = fit_to(np.asarray(smooth), (96, 96)).astype(int) - expected
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (300, 2), (40, 50), (33, 31)])
def test_fit_to__gives_the_size_in_the_type_of_any_picture(dtype: type, channels: int, shape: tuple[int, int]) -> None:
    image: NDArray[Any] = np.full((*shape, channels), 1, dtype)
    result = fit_to(image, (32, 48))
    assert result.shape == (32, 48, channels)
    assert result.dtype == dtype
    assert (result == 1).all()
