"""Evaluations of five pictures in batches of two, by a model that finds class 1 wherever a picture is bright."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor, nn

from resvision.callbacks import Pictures
from resvision.data import Shapes
from resvision.drawing import class_colours, displayable, overlay, panel
from resvision.tasks import DetectionTask, MultiTask, SegmentationTask


class Threshold(nn.Module):
    """Logits of five classes, of which the second is the largest in bright pixels and the first elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        bright = images.float().mean(dim=1) / 255 - 0.5 + self.bias
        nothing = torch.full_like(bright, -1.0)
        return torch.stack([torch.zeros_like(bright), bright, nothing, nothing, nothing], dim=1)


def _data() -> Shapes:
    return Shapes(32, train_size=2, val_size=5, test_size=5, batch_size=2, augmentation="none")


def _task() -> SegmentationTask:
    task = SegmentationTask(list(_data().class_names), backbone="resnet10t")
    task.model = Threshold()  # type: ignore[assignment]  # any map from pictures to logits will do
    return task


def _trainer(folder: Path, pictures: Pictures, **settings: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        callbacks=[pictures],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **settings,
    )


def _written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (3, 3), (8, 5)])
def test_pictures__writes_the_first_of_each_evaluation(tmp_path: Path, count: int, expected: int) -> None:
    folder = tmp_path / "pictures"
    trainer = _trainer(tmp_path, Pictures(folder, count))
    task, data = _task(), _data()
    trainer.validate(task, data, verbose=False)
    assert _written(folder) == [f"val_{number:02d}.png" for number in range(expected)]
    trainer.test(task, data, verbose=False)
    assert _written(folder) == [f"{split}_{number:02d}.png" for split in ("test", "val") for number in range(expected)]


def test_pictures__shows_picture_truth_and_prediction(tmp_path: Path) -> None:
    task, data = _task(), _data()
    _trainer(tmp_path, Pictures(tmp_path / "pictures", 4)).validate(task, data, verbose=False)
    for index in range(4):
        sample = data.dataset("val")[index]
        image, mask = sample["image"], sample["mask"]
        found = (image.mean(axis=2, dtype=np.float32) / 255 > 0.5).astype(np.uint8)
        expected = panel(
            [
                ("picture", displayable(image)),
                ("truth", overlay(image, mask, 5)),
                ("prediction", overlay(image, found, 5)),
            ],
            list(data.class_names),
        )
        with Image.open(tmp_path / "pictures" / f"val_{index:02d}.png") as written:
            assert np.array_equal(np.asarray(written), np.asarray(expected))


def test_pictures__writes_nothing_while_a_run_trains(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    _trainer(tmp_path, Pictures(folder), max_epochs=1, log_every_n_steps=1).fit(_task(), datamodule=_data())
    assert not folder.exists()


def test_pictures__of_a_second_evaluation_replace_those_of_the_first(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    trainer, task, data = _trainer(tmp_path, Pictures(folder, 2)), _task(), _data()
    trainer.validate(task, data, verbose=False)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    torch.nn.init.constant_(task.get_parameter("model.bias"), 2.0)
    trainer.validate(task, data, verbose=False)
    second = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)


def test_pictures__draws_true_boxes_beside_those_found(tmp_path: Path) -> None:
    data = Shapes(48, task="detection", train_size=2, val_size=3, test_size=3, batch_size=2, augmentation="none")
    task = DetectionTask(list(data.class_names), backbone="resnet10t", channels=32)
    folder = tmp_path / "pictures"
    _trainer(tmp_path, Pictures(folder)).validate(task, data, verbose=False)
    assert _written(folder) == [f"val_{number:02d}.png" for number in range(3)]
    colours = class_colours(4)
    for number in range(3):
        sample = data.dataset("val")[number]
        with Image.open(folder / f"val_{number:02d}.png") as picture:
            pixels = np.asarray(picture)
        for box, label in zip(sample["boxes"], sample["labels"], strict=True):
            # Pictures of 48 pixels are drawn seven times as large, below the title and beside a margin.
            left, top = np.add(7 * box[:2], [6, 20]).astype(int)
            assert (pixels[top : top + 2, left : left + 2] == colours[label]).all(axis=-1).any()


def test_pictures__draws_each_kind_of_label_of_a_picture(tmp_path: Path) -> None:
    data = Shapes(48, task="multi", train_size=3, val_size=3, test_size=3, batch_size=2, augmentation="none")
    assert data.class_names_by_kind is not None
    names = {kind: list(classes) for kind, classes in data.class_names_by_kind.items()}
    task = MultiTask(names, backbone="resnet10t", channels=32)
    folder = tmp_path / "pictures"
    _trainer(tmp_path, Pictures(folder)).validate(task, data, verbose=False)
    kinds = ("classification", "detection", "segmentation")
    assert _written(folder) == [f"val_{number:02d}_{kind}.png" for number in range(3) for kind in kinds]
    single = Shapes(48, train_size=3, val_size=3, test_size=3, batch_size=2)
    for number in range(3):
        sample = single.dataset("val")[number]
        with Image.open(folder / f"val_{number:02d}_segmentation.png") as written:
            pixels = np.asarray(written)
        expected = panel([("picture", displayable(sample["image"]))] * 3, names["segmentation"])
        assert pixels.shape == np.asarray(expected).shape
        truth = np.asarray(Image.fromarray(overlay(sample["image"], sample["mask"], 5)).resize((336, 336), 0))
        assert np.array_equal(pixels[20:356, 348:684], truth)
