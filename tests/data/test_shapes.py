import cv2
import numpy as np
import pytest

from resvision.data.seeding import fold
from resvision.data.shapes import CLASS_NAMES, Shapes, ShapesDataset
from resvision.data.transforms import Strength


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


def test_datamodule__knows_its_classes_before_setup() -> None:
    data = Shapes()
    assert data.class_names == ("background", "circle", "square", "triangle", "star")
    assert (data.num_classes, data.in_channels) == (5, 3)


def test_datamodule__splits_share_no_picture() -> None:
    data = Shapes(32, train_size=40, val_size=40, test_size=40)
    data.setup()
    seen = {
        data.dataset(split).source.read(i)[0].tobytes()  # type: ignore[attr-defined]
        for split in ("train", "val", "test")
        for i in range(40)
    }
    assert len(seen) == 120


def test_datamodule__draws_the_same_pictures_for_every_seed() -> None:
    one, other = (Shapes(32, val_size=2, seed=seed).dataset("val")[1] for seed in (0, 1))
    np.testing.assert_array_equal(one["image"], other["image"])


def test_datamodule__names_pictures_by_split_and_index() -> None:
    assert Shapes().dataset("val").name(7) == "shapes/val/00007"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 16}, "image_size is 16"),
        ({"val_size": 0}, "val_size is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"num_workers": -1}, "num_workers is -1"),
    ],
)
def test_datamodule__refuses_senseless_numbers(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shapes(**arguments)  # type: ignore[arg-type]


def test_datamodule__has_the_classes_of_pictures() -> None:
    data = Shapes(32, task="classification", val_size=40, num_workers=0, batch_size=40)
    assert data.class_names == ("circle", "square", "triangle", "star")
    (batch,) = data.val_dataloader()
    pixels = Shapes(32, val_size=40).dataset("val")
    assert batch["image"].shape == (40, 3, 32, 32)
    for index, label in enumerate(batch["label"].tolist()):
        counts = np.bincount(pixels[index]["mask"].ravel(), minlength=5)[1:]
        # The shape of which most is visible; several of one class may add up to more.
        assert counts[label] > 0
        if (counts > 0).sum() == 1:
            assert label == counts.argmax()
        np.testing.assert_array_equal(batch["image"][index].permute(1, 2, 0), pixels[index]["image"])


def test_detection__boxes_are_those_of_the_drawn_shapes(pictures: ShapesDataset) -> None:
    data = Shapes(task="detection", augmentation="none", train_size=4, num_workers=0, batch_size=4)
    assert data.class_names == CLASS_NAMES[1:]
    masks = ShapesDataset(256, 96, seed=fold("val"))
    batch = next(iter(data.val_dataloader()))
    assert batch["image"].shape == (4, 3, 96, 96)
    for number, index in enumerate(batch["index"].tolist()):
        picture = masks[index]
        np.testing.assert_array_equal(batch["image"][number].permute(1, 2, 0), picture["image"])
        np.testing.assert_array_equal(batch["boxes"][number], picture["boxes"])
        np.testing.assert_array_equal(batch["labels"][number] + 1, picture["labels"])
        for label, box in zip(picture["labels"], picture["boxes"].astype(int), strict=True):
            assert (picture["mask"][box[1] : box[3], box[0] : box[2]] == label).any()


@pytest.mark.parametrize("augmentation", ["none", "light", "strong"])
def test_detection__training_batches_fit_the_size(augmentation: Strength) -> None:
    data = Shapes(100, task="detection", augmentation=augmentation, train_size=8, num_workers=0, batch_size=8)
    (batch,) = data.train_dataloader()
    assert batch["image"].shape == (8, 3, 128, 128)  # padded to a multiple of 32
    assert int(batch["size"].max()) <= 100
    assert sum(map(len, batch["boxes"])) > 8
