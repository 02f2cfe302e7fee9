"""What a task says to data that it cannot learn from, where no command line has compared them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import SGD
from torch.utils.data import DataLoader

from resvision.data import Shapes
from resvision.inference import load
from resvision.tasks import (
    ClassificationTask,
    DetectionTask,
    MultiLabelTask,
    MultiTask,
    SegmentationTask,
    VerificationTask,
    VisionTask,
)
from tests.tasks.trainers import quiet_trainer

SHAPES = ["circle", "square", "triangle", "star"]


def _data(task: Any = "classification") -> Shapes:
    return Shapes(32, task=task, train_size=4, val_size=2, batch_size=2, num_workers=0)


@pytest.mark.parametrize("names", [SHAPES[::-1], SHAPES[:3], [*SHAPES, "moon"]])
@pytest.mark.parametrize("verb", ["fit", "validate"])
def test_task__refuses_data_of_other_classes(names: list[str], verb: str, tmp_path: Path) -> None:
    task = ClassificationTask(names, backbone="resnet10t")
    message = f"data has the classes circle, square, triangle, star, and this task {', '.join(names)}; give the task"
    with pytest.raises(ValueError, match=message):
        getattr(quiet_trainer(tmp_path), verb)(task, datamodule=_data())


def test_multi_task__refuses_data_of_other_classes(tmp_path: Path) -> None:
    names: Any = {kind: list(classes) for kind, classes in (_data("multi").class_names_by_kind or {}).items()}
    quiet_trainer(tmp_path, fast_dev_run=True).fit(MultiTask(names, backbone="resnet10t", channels=32), _data("multi"))
    names["detection"] = names["detection"][::-1]
    with pytest.raises(
        ValueError,
        match=r"; detection: circle, square, .*, and this task .*; detection: star, triangle, square, circle; seg",
    ):
        quiet_trainer(tmp_path).fit(MultiTask(names, backbone="resnet10t", channels=32), _data("multi"))


@pytest.mark.parametrize(
    ("task", "key"),
    [
        (ClassificationTask, "label"),
        (VerificationTask, "label"),
        (SegmentationTask, "mask"),
        (DetectionTask, "boxes"),
    ],
)
@pytest.mark.parametrize("verb", ["fit", "validate", "test"])
def test_task__names_the_labels_that_are_not_there(task: type[VisionTask], key: str, verb: str, tmp_path: Path) -> None:
    batches: Any = [{"image": torch.zeros(2, 3, 64, 64), "other": torch.zeros(2), "index": torch.arange(2)}]
    model = task(SHAPES, backbone="resnet10t")  # type: ignore[call-arg]  # an argument of each
    message = f"{task.__name__} learns from batches with '{key}', and these have 'image', 'other', 'index'; use other"
    loader = DataLoader(batches, batch_size=None)
    loaders = (loader, loader) if verb == "fit" else (loader,)
    with pytest.raises(ValueError, match=message):
        getattr(quiet_trainer(tmp_path, num_sanity_val_steps=0), verb)(model, *loaders)


def test_task__takes_data_that_says_no_classes(tmp_path: Path) -> None:
    data = _data()
    data.class_names = len  # type: ignore[assignment]  # as a method of one's own data might be called
    quiet_trainer(tmp_path, fast_dev_run=True).fit(ClassificationTask(SHAPES, backbone="resnet10t"), datamodule=data)


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
@pytest.mark.parametrize("kind", [ClassificationTask, SegmentationTask, MultiLabelTask, DetectionTask])
def test_task__reports_of_classes_whose_names_are_numbers(kind: Any) -> None:
    task = kind([0, 1, 2], backbone="resnet10t")
    task.scores()
    assert [line.split()[0] for line in task.report().splitlines()[1:4]] == ["0", "1", "2"]


def test_multi_task__knows_classes_whose_names_are_numbers() -> None:
    names: Any = {"classification": [0, 1], "segmentation": [2, 3]}
    task = MultiTask(names, backbone="resnet10t")
    task.check_classes(task)
    assert task.class_names_by_kind == {"classification": ("0", "1"), "segmentation": ("2", "3")}


def test_task__wants_a_list_of_names() -> None:
    with pytest.raises(ValueError, match="class_names is a list of names, got 'abc'"):
        ClassificationTask("abc", backbone="resnet10t")


class _Modes(Callback):
    """Notes in which mode a model trains."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, bool]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.seen.append((pl_module.training, pl_module.get_submodule("model.backbone.bn1").training))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    trainer = quiet_trainer(tmp_path)
    trainer.fit(ClassificationTask(SHAPES, backbone="resnet10t"), datamodule=_data())
    trainer.save_checkpoint(tmp_path / "w.ckpt")
    return tmp_path / "w.ckpt"


@pytest.mark.parametrize("goes_on", [False, True])
def test_loaded_task__is_trained_on_in_training_mode(checkpoint: Path, goes_on: bool) -> None:
    task, modes = load(checkpoint, "cpu").task, _Modes()
    assert not task.training
    trainer = quiet_trainer(checkpoint.parent, max_epochs=2, callbacks=[modes])
    trainer.fit(task, datamodule=_data(), ckpt_path=checkpoint if goes_on else None, weights_only=True)
    assert modes.seen == [(True, True)] * (2 if goes_on else 4)
    assert trainer.global_step == 4


def test_loaded_task__can_be_trained_by_another_optimiser(checkpoint: Path) -> None:
    task = ClassificationTask.load_from_checkpoint(checkpoint, optimizer=SGD, scheduler=None)
    trainer = quiet_trainer(checkpoint.parent)
    trainer.fit(task, datamodule=_data())
    assert isinstance(trainer.optimizers[0], SGD)
    task = ClassificationTask.load_from_checkpoint(checkpoint, optimizer=SGD, scheduler=None)
    with pytest.raises(ValueError, match="the run that goes on has AdamW for its optimizer, and now it is to be SGD"):
        quiet_trainer(checkpoint.parent).fit(task, datamodule=_data(), ckpt_path=checkpoint, weights_only=True)


@pytest.mark.parametrize("task", [ClassificationTask, VerificationTask, SegmentationTask, MultiLabelTask])
def test_predict__of_lightnings_trainer_returns_what_the_task_says(task: Any, tmp_path: Path) -> None:
    model = task(SHAPES, backbone="resnet10t")
    pixels = torch.randint(256, (5, 3, 32, 32), dtype=torch.uint8)
    # A tensor is a dataset of its rows, and a list one of its items.
    bare: DataLoader[Any] = DataLoader(pixels, batch_size=2)  # type: ignore[arg-type]
    named: DataLoader[Any] = DataLoader([{"image": one} for one in pixels], batch_size=2)  # type: ignore[arg-type]
    with torch.inference_mode():
        expected = torch.cat([model.eval()(part) for part in torch.split(pixels, 2)])
    for loader in (bare, named):
        said = quiet_trainer(tmp_path).predict(model, loader)
        assert said is not None
        assert torch.equal(torch.cat(said), expected)  # type: ignore[arg-type]  # one tensor a batch


def test_predict__of_boxes_looks_for_none_in_the_padding(tmp_path: Path) -> None:
    data, task = _data("detection"), DetectionTask(SHAPES, backbone="resnet10t", channels=32)
    trainer = quiet_trainer(tmp_path)
    trainer.fit(task, datamodule=data)
    batch = next(iter(data.test_dataloader()))
    batch["size"] = torch.tensor([[20, 24]] * len(batch["size"]))
    said: Any = trainer.predict(task, DataLoader([batch], batch_size=None))  # type: ignore[arg-type]
    with torch.inference_mode():
        expected = task.eval()(batch["image"], batch["size"])
    for ours, theirs in zip(said[0], expected, strict=True):
        assert len(ours["boxes"]) > 0
        assert ours["boxes"][:, 2].max() <= 24
        assert ours["boxes"][:, 3].max() <= 20
        assert all(torch.equal(ours[key], theirs[key]) for key in ("boxes", "scores", "labels"))
    with pytest.raises(ValueError, match=r"give trainer\.predict a loader"):
        trainer.predict(task, datamodule=data)
