from typing import Any

import albumentations
import numpy as np
import pytest
from numpy.typing import NDArray

from resvision.batch import IGNORE_INDEX
from resvision.data.transforms import ClassificationTransform, SegmentationTransform, Strength

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


@pytest.mark.parametrize("strength", _STRENGTHS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (3, 400), (100, 90)])
def test_classification__keeps_the_type_of_any_picture(
    strength: Strength, dtype: type, channels: int, size: tuple[int, int]
) -> None:
    image, _ = _picture(*size, channels, dtype)
    transform = ClassificationTransform(strength, 48)
    for seed in range(5):
        result = transform(image, seed=seed)
        assert result.shape == ((*size, channels) if strength == "none" else (48, 48, channels))
        assert result.dtype == dtype


@pytest.mark.parametrize(("strength", "least"), [("light", 0.5), ("strong", 0.08)])
def test_classification__cuts_out_a_part_and_flips(strength: Strength, least: float) -> None:
    # Red is the row and green the column, so that a result tells which part it is of.
    rows, columns = np.mgrid[0:100, 0:100].astype(np.uint8) * 2
    image = np.stack([rows, columns, np.zeros_like(rows)], axis=2)
    transform = ClassificationTransform(strength, 50)
    if strength == "strong":
        transform._compose.transforms.pop()  # colours would hide the places
    shares, flips = [], []
    for seed in range(60):
        result = transform(image, seed=seed).astype(int)
        height = np.ptp(result[..., 0]) / 2
        width = np.ptp(result[..., 1]) / 2
        shares.append(height * width / 100**2)
        flips.append(result[0, 0, 1] > result[0, -1, 1])
    assert min(shares) > least * 0.85
    assert max(shares) > 0.7
    assert 15 <= sum(flips) <= 45


def test_classification__takes_a_list() -> None:
    image, _ = _picture(40, 30, 3, np.uint8)
    flip = albumentations.HorizontalFlip(p=1)
    np.testing.assert_array_equal(ClassificationTransform([flip], 24)(image, seed=0), image[:, ::-1])
