"""Tasks that travel to other processes with what builds their optimisers."""

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import StepLR

from resvision.data import Shapes
from resvision.inference import Predictor
from resvision.tasks import (
    ClassificationTask,
    DetectionTask,
    MultiLabelTask,
    MultiTask,
    SegmentationTask,
    VerificationTask,
    VisionTask,
    WarmupCosine,
)
from resvision.tasks.builders import Builders
from resvision.tasks.finetuning import FineTuning
from tests.models.toy import ToyBackbone
from tests.tasks.trainers import quiet_trainer

NAMES = ["a", "b", "c"]


@pytest.mark.parametrize(
    "kind", [ClassificationTask, DetectionTask, MultiLabelTask, SegmentationTask, VerificationTask, MultiTask]
)
def test_pickled_task__has_the_same_weights_and_optimiser(kind: type[VisionTask]) -> None:
    names: Any = {"classification": NAMES} if kind is MultiTask else NAMES
    task = kind(names, backbone="resnet10t")  # type: ignore[call-arg]  # an argument of each
    again = pickle.loads(pickle.dumps(task))
    for name, value in task.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    assert again._builders == task._builders
    optimizer = again._builders.optimizer(again.parameters())
    assert isinstance(optimizer, AdamW)
    assert isinstance(again._builders.scheduler(optimizer), WarmupCosine)


def test_pickled_task__keeps_what_it_was_given() -> None:
    given: Any = {"optimizer": partial(SGD, lr=0.5), "scheduler": partial(StepLR, step_size=2)}
    task = SegmentationTask(NAMES, backbone="resnet10t", **given)
    builders = pickle.loads(pickle.dumps(task))._builders
    optimizer = builders.optimizer([torch.nn.Parameter(torch.zeros(1))])
    assert (type(optimizer), optimizer.defaults["lr"]) == (SGD, 0.5)
    assert builders.scheduler(optimizer).step_size == 2
    task.keep_learning_rate()
    assert pickle.loads(pickle.dumps(task))._builders.scheduler is None


def test_pickled_task__trains(tmp_path: Path) -> None:
    data = Shapes(32, train_size=4, val_size=2, batch_size=2, num_workers=0)
    task = pickle.loads(pickle.dumps(SegmentationTask(list(data.class_names), backbone="resnet10t")))
    trainer = quiet_trainer(tmp_path)
    trainer.fit(task, datamodule=data)
    assert trainer.optimizers[0].param_groups[0]["lr"] < 1e-3  # along the schedule


def test_pickled_predictor__says_the_same() -> None:
    predictor = Predictor(SegmentationTask(NAMES, backbone="resnet10t"), "cpu")
    again = pickle.loads(pickle.dumps(predictor))
    picture = torch.randint(256, (40, 50, 3), dtype=torch.uint8).numpy()
    np.testing.assert_equal(vars(again.predict(picture)), vars(predictor.predict(picture)))


def test_builders__of_a_task_without_defaults_are_pickled_as_they_are() -> None:
    class Bare:
        def __init__(self, optimizer: Any) -> None:
            pass

    state = Builders(Bare, SGD, None).__getstate__()
    assert state == {"task": Bare, "optimizer": SGD, "scheduler": None}


def test_backbone_options__take_nothing_that_the_task_is_asked_for() -> None:
    with pytest.raises(ValueError, match="backbone_options has in_channels and weights, which is said beside it"):
        SegmentationTask(NAMES, backbone="resnet10t", backbone_options={"in_channels": 4, "weights": None})


@pytest.mark.filterwarnings("ignore:Attribute 'backbone' is an instance")  # Lightning's, before the error
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"backbone": ToyBackbone()},
            r"backbone is the name of a registered one, .* got ToyBackbone; register",
        ),
        ({"optimizer": "adam"}, r"optimizer must build one, as partial\(torch.optim.SGD, lr=0.1\) does, got 'adam'"),
        ({"scheduler": 3}, r"scheduler must build one, .* got 3"),
        ({"losses": ["dice"]}, r"losses are weights by the names of losses, such as {'dice': 1.0}, got \['dice'\]"),
        ({"finetune": FineTuning()}, r"finetune is a preset, or a mapping such as .*, got FineTuning\("),
    ],
)
def test_task__says_what_a_setting_has_to_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        SegmentationTask(NAMES, **({"backbone": "resnet10t"} | settings))


def test_multi_task__knows_one_word_for_its_weights() -> None:
    names: Any = {"classification": NAMES}
    wrong: Any = "uncertain"
    with pytest.raises(ValueError, match="task_weights are numbers by the kinds of labels, or 'uncertainty', got 'unc"):
        MultiTask(names, backbone="resnet10t", task_weights=wrong)
