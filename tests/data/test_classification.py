from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from resvision.data.classification import (
    ChosenSource,
    ClassificationDataset,
    ClassificationSample,
    ClassificationSource,
    FileSource,
    divide,
)
from resvision.data.sampler import SampleKey
from resvision.data.transforms import ClassificationTransform


class _Source(ClassificationSource):
    """Noise; picture 1 is larger."""

    def __len__(self) -> int:
        return 3

    def read(self, index: int) -> tuple[NDArray[Any], int]:
        size = (80, 60, 3) if index == 1 else (32, 32, 3)
        return np.random.default_rng(index).integers(0, 256, size, dtype=np.uint8), index % 2

    def name(self, index: int) -> str:
        return f"noise/{index}"


def test_dataset__cuts_every_picture_to_one_size() -> None:
    dataset = ClassificationDataset(_Source(), 32, None, seed=0)
    assert [dataset[i]["image"].shape for i in range(3)] == [(32, 32, 3)] * 3
    assert [dataset[i]["label"] for i in range(3)] == [0, 1, 0]
    np.testing.assert_array_equal(dataset[2]["image"], _Source().read(2)[0])
    assert dataset.name(1) == "noise/1"


@pytest.mark.parametrize("strength", ["none", "light", "strong"])
def test_dataset__augmentation_is_a_function_of_seed_epoch_and_index(strength: Any) -> None:
    def picture(seed: int, epoch: int) -> NDArray[Any]:
        transform = ClassificationTransform(strength, 24)
        return ClassificationDataset(_Source(), 24, transform, seed=seed)[SampleKey(epoch, 1)]["image"]

    first = picture(0, 0)
    assert first.shape == (24, 24, 3)
    np.testing.assert_array_equal(first, picture(0, 0))
    for other in (picture(0, 1), picture(1, 0)):
        assert np.array_equal(first, other) == (strength == "none")


def test_collate__makes_a_batch_channels_last_that_keeps_brightness_across_depths() -> None:
    batch = ClassificationDataset.collate(
        [
            ClassificationSample(image=np.full((4, 5, 3), 255, np.uint8), label=2, index=7),
            ClassificationSample(image=np.full((4, 5, 3), 300, np.uint16), label=0, index=1),
        ]
    )
    assert batch["image"].shape == (2, 3, 4, 5)
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert batch["image"][:, 0, 0, 0].tolist() == [65535, 300]
    assert (batch["label"].tolist(), batch["label"].dtype) == ([2, 0], torch.int64)
    assert (batch["index"].tolist(), batch["index"].dtype) == ([7, 1], torch.int64)


def test_chosen__pictures_keep_labels_names_files_and_weights(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(files):
        assert cv2.imwrite(str(path), np.full((4, 4, 3), number, np.uint8))
    source = FileSource(files, [number * 10 for number in range(5)], 3, weights=[0.0, 0.1, 0.2, 0.3, 0.4])
    chosen = ChosenSource(source, [1, 4])
    assert len(chosen) == 2
    image, label = chosen.read(1)
    assert (image.max(), label, chosen.label(0)) == (4, 40, 10)
    assert chosen.name(1) == str(chosen.file(1)) == str(files[4])
    assert chosen.weights() == [0.1, 0.4]


def test_divide__puts_every_name_into_one_split_and_knows_no_order() -> None:
    keys = [f"cat/{n}.jpg" for n in range(50)]
    parts = divide(keys, 0.2, 0.1)
    assert {split: len(names) for split, names in parts.items()} == {"val": 10, "test": 5, "train": 35}
    assert sorted(parts["train"] + parts["val"] + parts["test"]) == sorted(keys)
    assert divide(keys[::-1], 0.2, 0.1) == parts
    # The validation pictures stay the same, whether a test is held out or not.
    assert divide(keys, 0.2)["val"] == parts["val"]


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (10, (2, 1, 7)), (13, (3, 1, 9))]
)
def test_divide__holds_out_one_picture_at_least(count: int, sizes: tuple[int, int, int]) -> None:
    parts = divide([str(n) for n in range(count)], 0.2, 0.1)
    assert (len(parts["val"]), len(parts["test"]), len(parts["train"])) == sizes
