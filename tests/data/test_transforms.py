from typing import Any

import albumentations
import albumentations.pytorch
import numpy as np
import pytest
from jsonargparse import ArgumentParser
from numpy.typing import NDArray
from torchvision.transforms import v2

from resvision.batch import IGNORE_INDEX
from resvision.data import transforms
from resvision.data.detection_geometry import Objects
from resvision.data.resident import CropAndFlip
from resvision.data.transforms import (
    Augmentation,
    ClassificationTransform,
    DetectionTransform,
    MultiTaskTransform,
    SegmentationTransform,
    Strength,
)

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
        transform._compose._compose.transforms.pop()  # colours would hide the places
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


_BOX = (40, 20, 70, 60)


def _with_box(dtype: type = np.uint8) -> tuple[NDArray[Any], Objects]:
    """Return a dark picture of 120 x 100 pixels with a bright box of class 5."""
    image: NDArray[Any] = np.full((100, 120, 3), np.iinfo(dtype).max // 10, dtype)
    x1, y1, x2, y2 = _BOX
    image[y1:y2, x1:x2] = np.iinfo(dtype).max // 10 * 8
    return image, Objects(np.array([_BOX], float), np.array([5]), np.array([True]), np.array([1200.0]))


def _bright(image: NDArray[Any]) -> list[int]:
    ys, xs = np.nonzero(image[..., 0].astype(float) > (float(image.min()) + float(image.max())) / 2)
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


@pytest.mark.parametrize("strength", _STRENGTHS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("image_size", [(96, 96), 64])
def test_detection__boxes_stay_on_their_pixels(
    image_size: int | tuple[int, int], dtype: type, strength: Strength
) -> None:
    image, objects = _with_box(dtype)
    transform = DetectionTransform(strength, image_size)
    whole = (80, 96) if isinstance(image_size, tuple) else (64, 77)
    sides = []
    for seed in range(30):
        result, found = transform(image, objects, seed=seed)
        assert result.dtype == dtype
        assert all(side <= limit for side, limit in zip(result.shape, whole, strict=False))
        if len(found.boxes):
            np.testing.assert_allclose(_bright(result), found.boxes[0], atol=1.6)
            assert (found.labels.tolist(), found.crowd.tolist(), found.area.tolist()) == ([5], [True], [1200])
            sides.append(found.boxes[0, 3] - found.boxes[0, 1])
    assert len(sides) > 15
    usual = 40 * whole[0] / 100
    least, most = {"none": (1, 1), "light": (0.8, 1.25), "strong": (0.5, 2)}[strength]
    assert max(sides) <= usual * most * 1.05
    if strength == "none":
        assert min(sides) == max(sides)
    else:
        assert min(sides) < usual * (least + 1) / 2
        assert max(sides) > usual * 1.05


def test_detection__without_zoom_keeps_the_size() -> None:
    transform = DetectionTransform("strong", 64)
    image, objects = _with_box()
    assert {transform(image, objects, zoom=False, seed=seed)[0].shape for seed in range(9)} == {(64, 77, 3)}


def test_detection__flips_half_of_the_pictures() -> None:
    image, objects = _with_box()
    transform = DetectionTransform("light", (100, 120))
    middles = [transform(image, objects, zoom=False, seed=seed)[1].boxes[0, ::2].mean() for seed in range(60)]
    assert set(np.round(middles)) == {55, 65}
    assert 15 <= np.sum(np.array(middles) > 60) <= 45


@pytest.mark.parametrize("strength", _STRENGTHS)
def test_detection__is_a_pure_function_of_the_seed(strength: Strength) -> None:
    image, objects = _with_box()
    one, other = (DetectionTransform(strength, 64) for _ in range(2))
    first = one(image, objects, seed=2**62 + 5)
    for seed in (1, 2, 3):
        other(image, objects, seed=seed)
    again = other(image, objects, seed=2**62 + 5)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1].boxes, again[1].boxes)


@pytest.mark.parametrize("strength", _STRENGTHS)
def test_detection__takes_a_picture_without_objects(strength: Strength) -> None:
    image, objects = _with_box()
    result, found = DetectionTransform(strength, 64)(image, objects.at(np.zeros((0, 4)), np.zeros(0, int)), seed=0)
    assert result.dtype == np.uint8
    assert (found.boxes.shape, found.labels.shape) == ((0, 4), (0,))


@pytest.mark.parametrize(
    "transforms",
    [
        [albumentations.HorizontalFlip(p=1), albumentations.VerticalFlip(p=1)],
        [albumentations.Transpose(p=1)],
        [albumentations.RandomCrop(70, 90), albumentations.RandomBrightnessContrast(p=1)],
        [albumentations.PadIfNeeded(150, 150)],
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_detection__list_moves_boxes_before_the_resizing(
    transforms: list[albumentations.BasicTransform], dtype: type
) -> None:
    image, objects = _with_box(dtype)
    kept = 0
    for seed in range(6):
        result, found = DetectionTransform(transforms, (96, 96))(image, objects, seed=seed)
        assert max(result.shape[:2]) == 96
        for box, label in zip(found.boxes, found.labels, strict=True):
            np.testing.assert_allclose(_bright(result), box, atol=1.6)
            assert label == 5
            kept += 1
    assert kept >= 4


def test_detection__takes_ten_thousand_boxes() -> None:
    image, _ = _with_box()
    boxes = np.tile([[40, 20, 41, 21.5]], (10_000, 1))
    many = Objects(boxes, np.arange(10_000), np.zeros(10_000, bool), np.ones(10_000))
    _, found = DetectionTransform("light", 64)(image, many, seed=3)
    assert found.labels.tolist() == list(range(10_000))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (albumentations.Normalize(), "that seems normalised, .*; leave out Normalize and ToFloat"),
        (albumentations.pytorch.ToTensorV2(), "augmentation makes Tensor of a picture .*; leave out ToTensorV2"),
        (
            albumentations.ToGray(num_output_channels=1, p=1),
            "leave out .*change the number of channels",
        ),
    ],
)
def test_list__that_ends_as_other_pipelines_do_is_refused(
    transform: albumentations.BasicTransform, said: str, dtype: type
) -> None:
    image, _ = _picture(40, 30, 3, dtype)
    with pytest.raises(ValueError, match=said):
        ClassificationTransform([transform], 24)(image, seed=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (albumentations.RandomCrop(500, 500), r"CropSizeError: Crop size .*: \(500, 500\) vs \(40, 30\)"),
        (albumentations.OneOf([albumentations.BBoxSafeRandomCrop(p=1)], p=1), "KeyError: 'bboxes'"),
        (albumentations.DualTransform(p=1), "NotImplementedError"),
    ],
)
def test_list__that_fails_on_a_picture_is_one_line_that_quotes_the_library(
    transform: Any, said: str, dtype: type
) -> None:
    start = "a transform of data.augmentation fails on a picture of height 40 and width 30; change it, or leave it out"
    with pytest.raises(ValueError, match=rf"^{start}: {said}$"):
        ClassificationTransform([transform], 24)(_picture(40, 30, 3, dtype)[0], seed=0)


def test_list__whose_tensors_cannot_be_cut_quotes_opencv_in_one_line() -> None:
    transform = SegmentationTransform([albumentations.pytorch.ToTensorV2()], (32, 32))
    with pytest.raises(
        ValueError, match=r"^a transform of data.augmentation fails .*: error: OpenCV.* array.*$"
    ) as caught:
        transform(*_picture(40, 30, 3, np.uint8), seed=0)
    assert "\n" not in str(caught.value)


_BUILDERS: list[Any] = [
    lambda augmentation: SegmentationTransform(augmentation, (32, 32)),
    lambda augmentation: ClassificationTransform(augmentation, 32),
    lambda augmentation: DetectionTransform(augmentation, 32),
    lambda augmentation: MultiTaskTransform(augmentation, (32, 32)),
]


@pytest.mark.parametrize("build", _BUILDERS)
@pytest.mark.parametrize("given", [None, "None", "medium", 3, albumentations.HorizontalFlip, CropAndFlip])
def test_augmentation__that_is_none_is_refused(build: Any, given: Any) -> None:
    with pytest.raises(ValueError, match=r"augmentation must be none, light, strong or a list of .*, got"):
        build(given)


@pytest.mark.parametrize("build", _BUILDERS)
def test_augmentation__lists_nothing_of_other_libraries(build: Any) -> None:
    with pytest.raises(ValueError, match=r"augmentation lists RandomHorizontalFlip\(p=0.5\), which is none of"):
        build([v2.RandomHorizontalFlip()])


@pytest.mark.parametrize(
    "given",
    [
        albumentations.Compose([albumentations.VerticalFlip(p=1)]),
        (albumentations.VerticalFlip(p=1),),
        [albumentations.OneOf([albumentations.VerticalFlip(p=1)], p=1)],
    ],
)
def test_augmentation__may_be_a_pipeline_or_a_tuple(given: Any) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert (ClassificationTransform(given, 32)(image, seed=5) == image[::-1]).all()
    mask = image[..., 0] % 3
    found, labels = SegmentationTransform(given, None)(image, mask, seed=5)
    assert (found == image[::-1]).all()
    assert (labels == mask[::-1]).all()


@pytest.mark.parametrize("strength", ["light", "strong"])
@pytest.mark.parametrize("size", [(1, 90), (90, 1), (1, 1)])
def test_transform__takes_a_picture_of_one_row_or_column(strength: Strength, size: tuple[int, int]) -> None:
    image, mask = np.full((*size, 3), 200, np.uint8), np.ones(size, np.uint8)
    box = Objects(np.array([[0.0, 0.0, *size[::-1]]]), np.zeros(1, np.int64), np.zeros(1, bool), np.ones(1))
    for seed in range(20):
        result, result_mask = SegmentationTransform(strength, (32, 48))(image, mask, seed=seed)
        assert (result.shape, result_mask.shape) == ((32, 48, 3), (32, 48))
        assert set(np.unique(result_mask)) <= {1, IGNORE_INDEX}
        result, result_mask, _ = MultiTaskTransform(strength, (32, 48))(image, mask, box, seed=seed)
        assert (result.shape, result_mask.shape) == ((32, 48, 3), (32, 48))
        assert set(np.unique(result_mask)) <= {1, IGNORE_INDEX}


@pytest.mark.parametrize("strength", ["light", "strong"])
@pytest.mark.parametrize("size", [(2, 50), (37, 2), (61, 83)])
def test_scaling__of_other_pictures_is_that_of_albumentations_to_the_bit(
    strength: Strength, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 5, size, np.uint8)
    corners = np.sort(rng.random((30, 2, 2)) * size[::-1], axis=1).reshape(-1, 4)
    objects = Objects(corners, np.arange(30), np.zeros(30, bool), np.ones(30))
    ours = SegmentationTransform(strength, (32, 48)), MultiTaskTransform(strength, (32, 48))
    monkeypatch.setattr(transforms, "_scale", lambda limits: [albumentations.RandomScale(limits, p=1)])
    alone = SegmentationTransform(strength, (32, 48)), MultiTaskTransform(strength, (32, 48))
    for seed in range(20):
        for one, other in zip(ours[0](image, mask, seed=seed), alone[0](image, mask, seed=seed), strict=True):
            np.testing.assert_array_equal(one, other)
        (*found, boxes), (*expected, other_boxes) = (each[1](image, mask, objects, seed=seed) for each in (ours, alone))
        for one, other in zip([*found, boxes.boxes], [*expected, other_boxes.boxes], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("pipeline", ["OneOf", "SomeOf", "Compose", "Sequential"])
def test_augmentation__of_a_config_may_hold_pipelines(pipeline: str) -> None:
    parts = [{"class_path": "albumentations.VerticalFlip", "init_args": {"p": 1.0}}]
    settings = {"transforms": parts, "p": 1.0} | ({"n": 1} if pipeline == "SomeOf" else {})
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--augmentation", type=Augmentation)
    said = parser.parse_object({"augmentation": [{"class_path": f"albumentations.{pipeline}", "init_args": settings}]})
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    transform = ClassificationTransform(parser.instantiate_classes(said).augmentation, 32)
    assert (transform(image, seed=0) == image[::-1]).all()
