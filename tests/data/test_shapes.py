from types import SimpleNamespace

import numpy as np
import pytest

from resvision.data.drawn_shapes import CLASS_NAMES, ShapesDataset
from resvision.data.seeding import fold
from resvision.data.shapes import Shapes
from resvision.data.transforms import Strength


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
        ({"image_size": 16}, "image_size must be a whole number of at least 32, got 16"),
        ({"image_size": (64, 64)}, r"image_size must be a whole number of at least 32, got \(64, 64\)"),
        ({"task": "klassification"}, "task must be one of 'classification', 'segmentation', 'detection', 'multi'"),
        ({"augmentation": "medium"}, "augmentation must be none, light, strong or a list of .*, got 'medium'"),
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


def test_detection__boxes_are_those_of_the_drawn_shapes() -> None:
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


def test_evaluation__of_fewer_pictures_than_processes_is_refused() -> None:
    data = Shapes(32, train_size=4, val_size=2, batch_size=2, num_workers=0)
    data.trainer = SimpleNamespace(world_size=3, global_rank=0)  # type: ignore[assignment]
    with pytest.raises(ValueError, match="val has 2 pictures for 3 processes, and each needs one; use fewer devices"):
        data.val_dataloader()
