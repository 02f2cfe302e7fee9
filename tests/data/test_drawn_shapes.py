import cv2
import numpy as np
import pytest

from resvision.data.drawn_shapes import CLASS_NAMES, ShapesDataset


@pytest.fixture(scope="module")
def pictures() -> ShapesDataset:
    return ShapesDataset(60, 96, seed=0)


def test_picture__is_a_pure_function_of_seed_and_index(pictures: ShapesDataset) -> None:
    first = pictures[7]
    pictures[3]
    for other in (pictures[7], ShapesDataset(9, 96, seed=0)[7]):
        np.testing.assert_array_equal(first["image"], other["image"])
        np.testing.assert_array_equal(first["mask"], other["mask"])
        np.testing.assert_array_equal(first["boxes"], other["boxes"])
    assert not np.array_equal(first["image"], ShapesDataset(9, 96, seed=1)[7]["image"])


def test_boxes__enclose_exactly_the_pixels_of_their_class(pictures: ShapesDataset) -> None:
    for index in range(len(pictures)):
        picture = pictures[index]
        mask, labels = picture["mask"], picture["labels"]
        assert picture["boxes"].shape == (len(labels), 4)
        assert set(labels) == set(np.unique(mask)) - {0}
        for label in set(labels):
            # The hull of a class's boxes is the hull of its pixels, whichever shape hides which.
            boxes = picture["boxes"][labels == label]
            ys, xs = np.nonzero(mask == label)
            hull = [*boxes[:, :2].min(0), *boxes[:, 2:].max(0)]
            assert hull == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_box__of_a_lone_shape_is_tight(pictures: ShapesDataset) -> None:
    lone = [picture for picture in map(pictures.__getitem__, range(60)) if len(picture["labels"]) == 1]
    assert len(lone) >= 5
    for picture in lone:
        x, y, width, height = cv2.boundingRect((picture["mask"] > 0).astype(np.uint8))
        np.testing.assert_array_equal(picture["boxes"], [[x, y, x + width, y + height]])
        assert picture["label"] == picture["labels"][0]


def test_label__is_a_class_in_the_picture(pictures: ShapesDataset) -> None:
    assert all(picture["label"] in picture["labels"] for picture in map(pictures.__getitem__, range(60)))


def test_classes__are_all_drawn_and_background_prevails_less_than_nine_tenths(
    pictures: ShapesDataset,
) -> None:
    counts = np.sum([np.bincount(pictures[i]["mask"].ravel(), minlength=5) for i in range(60)], axis=0)
    shares = counts / counts.sum()
    assert len(shares) == len(CLASS_NAMES)
    assert 0.5 < shares[0] < 0.9
    assert shares[1:].min() > 0.01


def test_outline__has_the_area_of_its_geometry() -> None:
    """A circle fills pi r^2, a square 2 r^2, a triangle 3/4 sqrt(3) r^2, r from the extent of each."""
    pictures = ShapesDataset(1, 400, seed=0)
    rng = np.random.default_rng(0)
    for name, factor in (("circle", np.pi), ("square", 2), ("triangle", 3 * 3**0.5 / 4)):
        for _ in range(20):
            outline = pictures._outline(name, rng) > 127
            if not (outline[[0, -1]].any() or outline[:, [0, -1]].any()):
                points = np.argwhere(outline)
                radius = np.linalg.norm(points - points.mean(0), axis=1).max()
                assert outline.sum() == pytest.approx(factor * radius**2, rel=0.06)


def test_index__beyond_the_end_is_an_error(pictures: ShapesDataset) -> None:
    with pytest.raises(IndexError, match="picture 60 of a data set of 60"):
        pictures[60]
