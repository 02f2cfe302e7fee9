"""What a checkpoint holds after settings that come from NumPy and pathlib."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR

from resvision.backbones import create_backbone
from resvision.data import Shapes
from resvision.inference import ClassificationResult, load
from resvision.tasks import ClassificationTask, SegmentationTask, VisionTask
from resvision.tasks.plain import plain
from tests.tasks.trainers import quiet_trainer

NAMES = ["circle", "square", "triangle", "star"]


def _fit(task: VisionTask, data: Shapes, folder: Path, **settings: Any) -> Path:
    trainer = quiet_trainer(folder, **settings)
    trainer.fit(task, datamodule=data)
    trainer.save_checkpoint(folder / "w.ckpt")
    return folder / "w.ckpt"


def _data(task: Any = "classification") -> Shapes:
    return Shapes(32, task=task, train_size=4, val_size=2, batch_size=2, num_workers=0)


@pytest.mark.parametrize(
    "settings",
    [
        {"class_weights": list(np.ones(4))},
        {"class_weights": np.ones(4)},
        {"label_smoothing": np.float64(0.1), "dropout": np.float32(0.1)},
        {
            "optimizer": partial(SGD, lr=np.logspace(-3, -1, 3)[0]),
            "scheduler": partial(StepLR, step_size=1, gamma=np.float64(0.5)),
        },
        {"finetune": {"preset": "full", "backbone_lr": np.float64(0.1)}},
    ],
    ids=str,
)
def test_checkpoint__can_be_opened_whatever_the_settings_were(settings: Any, tmp_path: Path) -> None:
    weights: Any = tmp_path / "weights.pth"
    torch.save(create_backbone("resnet10t").state_dict(), weights)
    names: Any = np.array(NAMES)
    task = ClassificationTask(names, backbone="resnet10t", weights=weights, **settings)
    path = _fit(task, _data(), tmp_path)
    result = load(path, "cpu").predict(np.zeros((32, 32, 3), np.uint8))
    assert isinstance(result, ClassificationResult)
    assert result.class_names == tuple(NAMES)
    again = ClassificationTask.load_from_checkpoint(path)
    for name, value in again.hparams.items():
        assert type(value) in (str, int, float, bool, list, dict, type(None)), name
    _fit(again, _data(), tmp_path, max_epochs=2)


def test_checkpoint__of_a_segmentation_with_losses_of_numpy_can_be_opened(tmp_path: Path) -> None:
    losses: Any = {"dice": np.float64(1)}
    task = SegmentationTask(["background", *NAMES], backbone="resnet10t", losses=losses)
    torch.load(_fit(task, _data("segmentation"), tmp_path), weights_only=True)


def test_plain__keeps_values_and_kinds() -> None:
    tensor = torch.zeros(2)
    value = {"a": [np.float32(0.5), (np.int64(3), np.str_("x"), np.bool_(True))], "b": Path("c") / "d", "t": tensor}
    found = plain(value)
    assert found == {"a": [0.5, (3, "x", True)], "b": str(Path("c/d")), "t": tensor}
    assert [type(item) for item in found["a"][1]] == [int, str, bool]
    assert plain(np.arange(4).reshape(2, 2)) == [[0, 1], [2, 3]]
