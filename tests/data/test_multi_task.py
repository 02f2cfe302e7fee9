from typing import Any

import numpy as np
import pytest
import torch

from resvision.batch import LabelKind
from resvision.data import Shapes
from resvision.data.multi_task import Labels, MultiTaskDataset
from resvision.data.transforms import Strength


def _data(**arguments: Any) -> Shapes:
    defaults: dict[str, Any] = {"train_size": 40, "val_size": 3, "test_size": 3, "batch_size": 40, "num_workers": 0}
    return Shapes(64, task="multi", **(defaults | arguments))


def test_labels__say_something() -> None:
    with pytest.raises(ValueError, match="without any label trains nothing"):
        Labels(label=None, mask=None, objects=None)


def test_batch__has_the_labels_of_each_single_task() -> None:
    (batch,) = _data(batch_size=3).val_dataloader()
    settings: dict[str, Any] = {"val_size": 3, "batch_size": 3, "num_workers": 0}
    for kind in ("classification", "segmentation", "detection"):
        (single,) = Shapes(64, task=kind, **settings).val_dataloader()
        assert batch["rows"][kind].tolist() == [0, 1, 2]
        torch.testing.assert_close(batch["image"], single.pop("image"))
        torch.testing.assert_close(batch["labels"][kind], single)


def test_batch__leaves_out_what_pictures_lack() -> None:
    data = _data(missing_labels=0.7)
    (batch,) = data.train_dataloader()
    dataset = data.dataset("train")
    for row, index in enumerate(batch["index"].tolist()):
        known = dataset[index]["labels"]
        for kind, value in (
            ("classification", known.label),
            ("segmentation", known.mask),
            ("detection", known.objects),
        ):
            assert (row in batch["rows"][kind].tolist()) == (value is not None)
    counts = {kind: len(rows) for kind, rows in batch["rows"].items()}
    assert len(counts) == 3
    assert all(20 < count < 40 for count in counts.values())  # each lacks in 0.7 / 3 of the pictures
    assert 80 < sum(counts.values()) < 120
    for kind, labels in batch["labels"].items():
        torch.testing.assert_close(labels["index"], batch["index"][batch["rows"][kind]])
        count = counts[kind]
        assert all(len(values) == count for values in labels.values())


def test_batch__without_a_kind_has_no_such_entry() -> None:
    dataset = _data(missing_labels=1.0).dataset("train")
    lacking = [sample for sample in map(dataset.__getitem__, range(12)) if sample["labels"].mask is None]
    assert lacking
    batch = MultiTaskDataset.collate(lacking)
    assert set(batch["rows"]) == set(batch["labels"]) == {"classification", "detection"}


def test_missing_labels__are_of_training_alone() -> None:
    data = _data(missing_labels=1.0)
    for split in ("val", "test"):
        (batch,) = getattr(data, f"{split}_dataloader")()
        assert {len(rows) for rows in batch["rows"].values()} == {3}


@pytest.mark.parametrize("augmentation", ["none", "light", "strong"])
def test_augmentation__keeps_boxes_on_their_pixels(augmentation: Strength) -> None:
    (batch,) = _data(augmentation=augmentation).train_dataloader()
    assert batch["image"].shape == (40, 3, 64, 64)
    boxes, masks = batch["labels"]["detection"], batch["labels"]["segmentation"]["mask"].numpy()
    seen = 0
    for number, mask in enumerate(masks):
        labels = boxes["labels"][number].numpy() + 1
        for label in set(labels.tolist()):
            if (labels == label).sum() > 1:
                continue
            ys, xs = np.nonzero(mask == label)
            hull = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            box = boxes["boxes"][number].numpy()[labels == label][0]
            # The tips of shapes are thin, and a resized mask may miss them. A box that was cut may be larger than what
            # is left of its shape. Others of the class, of which less than a fifth is left, have no box.
            if box.min() > 1 and box.max() < 63:
                assert (hull[:2] <= box[:2] + 2).all()
                assert (hull[2:] >= box[2:] - 2).all()
                seen += 1
        assert set(labels.tolist()) <= set(np.unique(mask).tolist())
    assert seen > 10


@pytest.mark.parametrize("kind", ["classification", "segmentation", "detection"])
def test_augmentation__is_the_same_whatever_is_missing(kind: LabelKind) -> None:
    whole, lacking = (_data(augmentation="strong", missing_labels=share).dataset("train") for share in (0.0, 1.0))
    attribute = {"classification": "label", "segmentation": "mask", "detection": "objects"}[kind]
    compared = 0
    for index in range(20):
        one, other = whole[index], lacking[index]
        np.testing.assert_array_equal(one["image"], other["image"])
        if getattr(other["labels"], attribute) is not None:
            if kind == "detection":
                np.testing.assert_array_equal(one["labels"].objects.boxes, other["labels"].objects.boxes)
            else:
                np.testing.assert_array_equal(getattr(one["labels"], attribute), getattr(other["labels"], attribute))
            compared += 1
    assert 5 < compared < 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"missing_labels": 1.5}, "missing_labels is 1.5; it is a part of 1"),
        ({"task": "detection", "missing_labels": 0.5}, "missing_labels are for task: multi; with detection a picture"),
    ],
)
def test_missing_labels__refuse_what_cannot_be(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shapes(**arguments)
