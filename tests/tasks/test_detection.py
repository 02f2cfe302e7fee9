"""Driven by Lightning's trainer on drawn shapes; scores are compared with others' computations."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import AdamW
from torchmetrics.detection import MeanAveragePrecision
from torchvision.ops import box_iou

from resvision.data import Shapes
from resvision.models import Detector, TorchvisionDetector
from resvision.tasks import DetectionTask, WarmupCosine
from tests.tasks.trainers import quiet_trainer

NAMES = ["circle", "square", "triangle", "star"]


def _task(**arguments: Any) -> DetectionTask:
    defaults: dict[str, Any] = {"backbone": "toy", "strides": [4, 8, 16], "channels": 32}
    return DetectionTask(NAMES, **(defaults | arguments))


def _data(**arguments: Any) -> Shapes:
    defaults: dict[str, Any] = {"train_size": 8, "val_size": 5, "test_size": 5, "batch_size": 4}
    return Shapes(64, task="detection", augmentation="none", **(defaults | arguments))


def test_detection__scores_equal_those_of_its_own_detections(tmp_path: Path) -> None:
    task, data = _task().eval(), _data()
    (logged,) = quiet_trainer(tmp_path).validate(task, data, verbose=False)
    metric = MeanAveragePrecision(
        backend="faster_coco_eval",
        class_metrics=True,
        iou_thresholds=[0.5 + 0.05 * step for step in range(10)],
        rec_thresholds=[step / 100 for step in range(101)],
    )
    losses = []
    for batch in data.val_dataloader():
        with torch.no_grad():
            found = task(batch["image"], batch["size"])
            targets = [{"boxes": b, "labels": k} for b, k in zip(batch["boxes"], batch["labels"], strict=True)]
            losses += [sum(task.model(batch["image"], targets).values()).item()] * len(targets)
        metric.update(found, targets)
    expected = metric.compute()
    assert logged["val/map"] == pytest.approx(expected["map"].item())
    assert logged["val/map_50"] == pytest.approx(expected["map_50"].item())
    assert logged["val/recall"] == pytest.approx(expected["mar_100"].item())
    per_class = {number: logged[f"val/ap/{name}"] for number, name in enumerate(NAMES)}
    there = {label for batch in data.val_dataloader() for labels in batch["labels"] for label in labels.tolist()}
    for label, value in zip(expected["classes"].tolist(), expected["map_per_class"].tolist(), strict=True):
        assert per_class[label] == pytest.approx(value) if label in there else math.isnan(per_class[label])
    assert logged["val/loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)


@pytest.mark.parametrize("quality", ["centerness", "iou"])
def test_detection__learns_what_can_be_learnt(tmp_path: Path, quality: Any) -> None:
    task = _task(quality=quality, optimizer=partial(AdamW, lr=5e-3))
    data = _data(train_size=2, batch_size=2)
    quiet_trainer(tmp_path, max_epochs=60, limit_val_batches=0).fit(task, datamodule=data)
    task.eval()
    (batch,) = data.train_dataloader()
    hits, objects = 0, 0
    for found, boxes, labels in zip(task(batch["image"]), batch["boxes"], batch["labels"], strict=True):
        sure = found["scores"] > 0.3
        same = found["labels"][sure] == labels[:, None]
        hits += int(((box_iou(boxes, found["boxes"][sure]) > 0.5) & same).any(dim=1).sum())
        objects += len(boxes)
    assert hits >= 0.8 * objects


def test_detection__checkpoint_comes_back_with_the_size_to_resize_to(tmp_path: Path) -> None:
    task, trainer = _task(input_size=64), quiet_trainer(tmp_path)
    trainer.fit(task, _data())
    trainer.save_checkpoint(tmp_path / "task.ckpt")
    said = torch.load(tmp_path / "task.ckpt", weights_only=True)["resvision"]
    assert said["task"] == "DetectionTask"
    assert said["image_size"] == [64, 64]
    again = DetectionTask.load_from_checkpoint(tmp_path / "task.ckpt").eval()
    assert (again.input_size, again.class_names) == (64, tuple(NAMES))
    picture = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)
    torch.testing.assert_close(again(picture)[0], task.eval()(picture)[0])


@pytest.mark.parametrize("kind", ["faster_rcnn", "retinanet", "fcos"])
def test_detection__trains_and_scores_torchvisions(tmp_path: Path, kind: Any) -> None:
    weights = tmp_path / "weights.pth"
    torch.save(DetectionTask(NAMES, backbone="resnet10t").model.backbone.state_dict(), weights)
    task = DetectionTask(NAMES, model=kind, backbone="resnet10t", weights=str(weights), finetune="full")
    assert isinstance(task.model, TorchvisionDetector)
    trainer = quiet_trainer(tmp_path)
    trainer.fit(task, datamodule=_data(train_size=2, val_size=2, batch_size=2))
    assert 0 <= trainer.callback_metrics["val/map"].item() <= 1
    assert "val/loss" not in trainer.callback_metrics
    names = {group["name"].split("/")[0] for group in trainer.optimizers[0].param_groups}
    assert {"stem", "stage1", "stage4", "fpn"} <= names
    counts = [len(group["params"]) for group in trainer.optimizers[0].param_groups]
    assert sum(counts) == len(list(task.parameters()))


@pytest.mark.parametrize("kind", ["detector", "faster_rcnn", "retinanet", "fcos"])
def test_detection__finds_no_more_than_wanted(kind: Any) -> None:
    torch.manual_seed(0)
    picture = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)
    counts = []
    for most in (100, 3):
        task = DetectionTask(NAMES, model=kind, backbone="resnet10t", channels=32, max_detections=most).eval()
        assert task.evaluation.average_precision.max_detections == most
        if isinstance(task.model, TorchvisionDetector):
            heads = getattr(task.model.network, "roi_heads", task.model.network)
            heads.score_thresh, heads.nms_thresh = 0.0, 1.0
        else:
            task.model.rules = replace(task.model.rules, score_threshold=0.0, nms_threshold=1.0)
        counts.append(len(task(picture)[0]["scores"]))
    assert counts[0] > 3 >= counts[1] > 0


def test_detection__fine_tunes_part_by_part(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    torch.save(DetectionTask(NAMES, backbone="resnet10t").model.backbone.state_dict(), weights)
    task = DetectionTask(NAMES, backbone="resnet10t", channels=32, weights=str(weights), finetune="head")
    assert isinstance(task.model, Detector)
    before = {name: value.clone() for name, value in task.model.named_parameters()}
    trainer = quiet_trainer(tmp_path, max_steps=2, limit_val_batches=0)
    trainer.fit(task, datamodule=_data())
    moved = {
        name.split(".")[0] for name, value in task.model.named_parameters() if not torch.equal(value, before[name])
    }
    assert moved == {"pyramid", "head"}
    table = task.finetuning_table()
    assert table is not None
    assert {line.split()[0] for line in table.splitlines()} >= {"stage4", "pyramid", "head"}


def test_detection__reports_a_table(tmp_path: Path) -> None:
    task = _task()
    assert task.report() == "nothing was evaluated yet"
    quiet_trainer(tmp_path).validate(task, _data(), verbose=False)
    header, *rows = task.report().splitlines()
    assert header.split() == ["class", "AP", "AP50", "AP75", "objects", "found"]
    assert [row.split()[0] for row in rows[:5]] == [*NAMES, "mean"]
    assert len({len(row) for row in (header, *rows[:5])}) == 1
    assert rows[5].startswith("small objects")


def test_detection__that_is_compiled_tells_its_loss() -> None:
    task, losses = _task().eval(), []
    (batch,) = _data(val_size=2).val_dataloader()
    for compiled in (False, True):
        if compiled:
            task.model = torch.compile(task.model, backend="eager")  # type: ignore[assignment]
        task.reset_evaluation()
        with torch.no_grad():
            task.evaluate(batch)
        losses.append(task.scores()["loss"])
    assert losses[0] == losses[1] > 0


def test_detection__is_channels_last_and_steps_its_schedule() -> None:
    task = _task(scheduler=WarmupCosine)
    weight = task.get_parameter("model.head.class_branch.0.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_detection__refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="at least one class"):
        DetectionTask([], backbone="toy")
    with pytest.raises(ValueError, match="class names must differ"):
        DetectionTask(["a", "a"], backbone="toy")
    with pytest.raises(ValueError, match="model must be one of 'detector', 'faster_rcnn'"):
        _task(model="yolo")
    with pytest.raises(ValueError, match="max_detections is a number of objects, at least 1, got 0"):
        _task(max_detections=0)
    with pytest.raises(ValueError, match=r"no feature of stride \[8, 16, 32\]"):
        _task(model="fcos")
    with pytest.raises(ValueError, match=r"^channels must be a whole number of at least 1, got 0$"):
        _task(channels=0)
    with pytest.raises(ValueError, match=r"^nms_threshold must be from 0 to 1, got 60$"):
        _task(nms_threshold=60)
