from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from resvision.data.detection_geometry import Objects, cut_out, fitted_size, mosaic, padded_size, zoomed
from resvision.data.fitting import resize

_BOX = (30, 40, 70, 60)


def _objects(*boxes: tuple[float, ...]) -> Objects:
    table = np.array(boxes, np.float64).reshape(-1, 4)
    count = len(table)
    area = (table[:, 2:] - table[:, :2]).prod(axis=1)
    return Objects(table, np.arange(count), np.arange(count) % 2 == 1, area)


def _picture(dtype: type = np.uint8, value: int = 200) -> NDArray[Any]:
    """Return a dark picture of 120 x 100 pixels that is bright inside of `_BOX`."""
    image: NDArray[Any] = np.zeros((100, 120, 3), dtype)
    x1, y1, x2, y2 = _BOX
    image[y1:y2, x1:x2] = value
    return image


def _bright(image: NDArray[Any]) -> list[int]:
    ys, xs = np.nonzero(image[..., 0] > image.max() / 2)
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


@pytest.mark.parametrize(
    ("size", "image_size", "expected"),
    [
        ((480, 640), 320, (320, 427)),
        ((640, 480), 320, (427, 320)),
        ((480, 640), 800, (800, 1067)),
        ((400, 1000), 480, (320, 800)),  # the long side is what limits it
        ((1, 5000), 480, (1, 800)),
        ((480, 640), (320, 320), (240, 320)),
        ((480, 640), (480, 640), (480, 640)),
        ((100, 50), (64, 96), (64, 32)),
        ((1, 5000), (64, 64), (1, 64)),
    ],
)
def test_fitted_size__keeps_the_proportions(
    size: tuple[int, int], image_size: int | tuple[int, int], expected: tuple[int, int]
) -> None:
    assert fitted_size(size, image_size) == expected


def test_padded_size__is_the_next_multiple_of_32() -> None:
    assert padded_size((320, 427)) == (320, 448)
    assert padded_size((1, 33)) == (32, 64)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(50, 60), (200, 240), (100, 61)])
def test_resize__keeps_the_type_and_the_place_of_things(size: tuple[int, int], dtype: type) -> None:
    result = resize(_picture(dtype), size)
    assert result.shape == (*size, 3)
    assert result.dtype == dtype
    scale = np.tile([size[1] / 120, size[0] / 100], 2)
    np.testing.assert_allclose(_bright(result), np.multiply(_BOX, scale), atol=1)
    grey = _picture(dtype)[..., :1]
    assert resize(grey, size).shape == (*size, 1)
    assert resize(grey, (100, 120)) is grey


def test_cut_out__moves_boxes_with_their_pixels() -> None:
    image, objects = cut_out(_picture(), _objects(_BOX), (20, 20, 100, 80), (120, 160))
    assert objects.boxes.tolist() == [[20, 40, 100, 80]]
    np.testing.assert_allclose(_bright(image), objects.boxes[0], atol=1)


def test_cut_out__keeps_what_is_a_fifth_visible_with_all_that_belongs_to_it() -> None:
    boxes = [(0, 0, 50, 10), (0, 0, 49, 10), (45, 20, 60, 30), (100, 90, 120, 100)]
    _, objects = cut_out(_picture(), _objects(*boxes), (40, 0, 120, 80), (80, 80))
    # Of the first two 10 of 50 and 9 of 49 columns are left, the last one lies below.
    assert objects.boxes.tolist() == [[0, 0, 10, 10], [5, 20, 20, 30]]
    assert (objects.labels.tolist(), objects.crowd.tolist(), objects.area.tolist()) == (
        [0, 2],
        [False, False],
        [500, 150],
    )


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.3, 2.0])
def test_zoomed__resizes_by_the_factor(factor: float) -> None:
    for seed in range(8):
        image, objects = zoomed(_picture(), _objects(_BOX), (100, 120), factor, np.random.default_rng(seed))
        shape = (round(100 * factor), round(120 * factor), 3) if factor < 1 else (100, 120, 3)
        assert image.shape == shape
        for box in objects.boxes:
            np.testing.assert_allclose(_bright(image), box, atol=1.5)
            if (box > 0).all() and box[2] < shape[1] and box[3] < shape[0]:  # not cut
                np.testing.assert_allclose(box[2:] - box[:2], [40 * factor, 20 * factor], rtol=0.03)


def test_mosaic__holds_a_part_of_each_picture_in_its_corner() -> None:
    corners = set()
    for seed in range(20):
        pictures = [
            (np.full((h, w, 3), 10 * (n + 1), np.uint8), _objects((0, 0, w, h)))
            for n, (h, w) in enumerate([(100, 120), (50, 400), (300, 30), (7, 9)])
        ]
        image, objects = mosaic(pictures, (64, 96), np.random.default_rng(seed))
        assert image.shape == (64, 96, 3)
        # A box around all of a picture is the whole corner, or dropped where less than a fifth is in the corner.
        for box in objects.boxes.astype(int):
            inside = image[box[1] : box[3], box[0] : box[2]]
            assert inside.min() == inside.max()
            assert (image == inside.max()).all(axis=2).sum() == (box[2] - box[0]) * (box[3] - box[1])
        x, y = (int((image[..., 0] == 10).any(axis=axis).sum()) for axis in (0, 1))
        corners.add((x, y))
        assert set(np.unique(image)) == {10, 20, 30, 40}
        assert (image[:y, :x] == 10).all()
        assert (image[y:, x:] == 40).all()
    assert len(corners) > 10
    assert all(0.3 * 96 - 1 <= x <= 0.7 * 96 + 1 and 0.3 * 64 - 1 <= y <= 0.7 * 64 + 1 for x, y in corners)


def test_mosaic__boxes_stay_on_their_pixels() -> None:
    for seed in range(10):
        blank = (np.zeros((100, 120, 3), np.uint8), _objects())
        image, objects = mosaic(
            [blank, blank, blank, (_picture(), _objects(_BOX))], (160, 160), np.random.default_rng(seed)
        )
        for box in objects.boxes:
            np.testing.assert_allclose(_bright(image), box, atol=2)


def test_mosaic__brings_pictures_of_8_and_16_bits_to_one_brightness() -> None:
    narrow = (np.full((50, 50, 1), 100, np.uint8), _objects())
    wide = (np.full((50, 50, 1), 100 * 257, np.uint16), _objects())
    for first, other, value in ((narrow, wide, 100), (wide, narrow, 100 * 257)):
        image, _ = mosaic([first, other, other, first], (64, 64), np.random.default_rng(0))
        assert image.dtype == first[0].dtype
        assert (image == value).all()


def test_mosaic__of_pictures_of_one_pixel_is_drawn() -> None:
    tiny = (np.full((1, 1, 3), 9, np.uint8), _objects((0, 0, 1, 1)))
    image, objects = mosaic([tiny] * 4, (32, 33), np.random.default_rng(0))
    assert (image == 9).all()
    assert len(objects.boxes) == 4


def test_mosaic__of_a_thin_size_has_a_pixel_for_each_picture() -> None:
    pictures = [(np.full((2, 1200, 3), 10 * (n + 1), np.uint8), _objects((0, 0, 1200, 2))) for n in range(4)]
    image, objects = mosaic(pictures, (1, 800), np.random.default_rng(0))
    assert image.shape == (2, 800, 3)
    assert [set(np.unique(row)) for row in image] == [{10, 20}, {30, 40}]
    assert ((objects.boxes >= 0) & (objects.boxes <= [800, 2, 800, 2])).all()
