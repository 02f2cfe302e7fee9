from typing import Any

import albumentations
import numpy as np
import pytest
from numpy.typing import NDArray

from resvision.batch import IGNORE_INDEX
from resvision.data.transforms import SegmentationTransform, Strength

_STRENGTHS: tuple[Strength, ...] = ("none", "light", "strong")


def _picture(height: int, width: int, channels: int, dtype: type) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return a picture with a dark left half of class 1 and a bright right half of class 2."""
    mask = np.ones((height, width), np.uint8)
    mask[:, width // 2 :] = 2
    image = np.where(mask[..., None] == 1, 0.25, 0.75) * np.iinfo(dtype).max
    return image.repeat(channels, 2).astype(dtype), mask


@pytest.mark.parametrize("strength", _STRENGTHS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(20, 30), (64, 48), (100, 90)])
def test_transform__gives_the_crop_size_in_the_type_of_the_picture(
    strength: Strength, dtype: type, channels: int, size: tuple[int, int]
) -> None:
    image, mask = _picture(*size, channels, dtype)
    transform = SegmentationTransform(strength, (48, 56))
    for seed in range(5):
        result, result_mask = transform(image, mask, seed=seed)
        assert result.shape == (48, 56, channels)
        assert result.dtype == dtype
        assert result_mask.shape == (48, 56)
        assert result_mask.dtype == np.uint8
        assert set(np.unique(result_mask)) <= {1, 2, IGNORE_INDEX}


@pytest.mark.parametrize("strength", _STRENGTHS)
def test_transform__moves_picture_and_mask_together(strength: Strength) -> None:
    image, mask = _picture(80, 80, 3, np.uint8)
    transform = SegmentationTransform(strength, (64, 64))
    agreement = []
    for seed in range(20):
        result, result_mask = transform(image, mask, seed=seed)
        dark, bright = result[result_mask == 1], result[result_mask == 2]
        if min(dark.size, bright.size) > 300:
            middle = (float(dark.mean()) + float(bright.mean())) / 2
            assert dark.mean() < bright.mean()
            agreement.append(np.mean([(dark < middle).mean(), (bright > middle).mean()]))
    assert len(agreement) >= 10
    assert min(agreement) > 0.95


@pytest.mark.parametrize("strength", _STRENGTHS)
def test_transform__marks_what_lies_outside_the_picture(strength: Strength) -> None:
    image, mask = _picture(16, 16, 3, np.uint8)
    result, result_mask = SegmentationTransform(strength, (64, 64))(image, mask, seed=3)
    outside = result_mask == IGNORE_INDEX
    assert outside.mean() > 0.5
    if strength == "none":
        assert outside.mean() == 1 - 16 * 16 / 64**2
        assert not result[outside].any()


@pytest.mark.parametrize("strength", _STRENGTHS)
def test_transform__is_a_pure_function_of_the_seed(strength: Strength) -> None:
    image, mask = _picture(90, 90, 3, np.uint8)
    one, other = (SegmentationTransform(strength, (64, 64)) for _ in range(2))
    first = one(image, mask, seed=2**62 + 5)
    np.random.rand(3)  # noqa: NPY002  # Draws elsewhere must not matter.
    for seed in (1, 2, 3):
        other(image, mask, seed=seed)
    again = other(image, mask, seed=2**62 + 5)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    others = [one(image, mask, seed=seed)[0] for seed in range(8)]
    assert any(not np.array_equal(first[0], picture) for picture in others)


def test_none__only_cuts() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    mask = rng.integers(0, 5, (40, 40), dtype=np.uint8)
    result, result_mask = SegmentationTransform("none", (32, 32))(image, mask, seed=0)
    places = [
        (y, x)
        for y in range(9)
        for x in range(9)
        if np.array_equal(image[y : y + 32, x : x + 32], result)
        and np.array_equal(mask[y : y + 32, x : x + 32], result_mask)
    ]
    assert len(places) == 1


def test_list__is_applied_before_the_crop() -> None:
    image, mask = _picture(40, 40, 3, np.uint8)
    flip = albumentations.HorizontalFlip(p=1)
    result, result_mask = SegmentationTransform([flip], None)(image, mask, seed=0)
    np.testing.assert_array_equal(result, image[:, ::-1])
    np.testing.assert_array_equal(result_mask, mask[:, ::-1])
    assert SegmentationTransform([flip], (24, 16))(image, mask, seed=0)[0].shape == (24, 16, 3)


def test_16_bits__survive_a_transform_that_changes_nothing() -> None:
    values = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64, 1)
    result, _ = SegmentationTransform("none", (64, 64))(values, np.zeros((64, 64), np.uint8), seed=0)
    np.testing.assert_array_equal(result, values)
