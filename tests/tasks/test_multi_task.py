"""Driven by Lightning's trainer on drawn shapes; scores and losses are those of the tasks of each kind."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import AdamW

from resvision.batch import ClassificationBatch, DetectionBatch, LabelKind, MultiTaskBatch, SegmentationBatch
from resvision.data import Shapes
from resvision.tasks import ClassificationTask, DetectionTask, MultiTask, SegmentationTask, VisionTask
from tests.tasks.trainers import quiet_trainer

KINDS: tuple[LabelKind, ...] = ("classification", "segmentation", "detection")


def _data(**arguments: Any) -> Shapes:
    defaults: dict[str, Any] = {"train_size": 8, "val_size": 5, "test_size": 4, "batch_size": 4}
    return Shapes(32, task="multi", augmentation="none", **(defaults | arguments))


def _names(*kinds: LabelKind) -> dict[LabelKind, list[str]]:
    known = _data().class_names_by_kind
    assert known is not None
    return {kind: list(known[kind]) for kind in kinds or KINDS}


def _task(**arguments: Any) -> MultiTask:
    torch.manual_seed(0)
    defaults: dict[str, Any] = {"backbone": "toy", "decoder_stride": 2, "decoder_widths": [8]}
    defaults |= {"strides": [4, 8, 16], "channels": 32, "class_names": _names()}
    return MultiTask(**(defaults | arguments))


def _single(task: MultiTask, kind: LabelKind) -> VisionTask:
    """Return the task of one kind, with the weights of ours."""
    names = _names()[kind]
    single: VisionTask
    if kind == "classification":
        single = ClassificationTask(names, backbone="toy")
    elif kind == "segmentation":
        single = SegmentationTask(names, backbone="toy", decoder_stride=2, decoder_widths=[8])
    else:
        single = DetectionTask(names, backbone="toy", strides=[4, 8, 16], channels=32)
    weights = task.model.state_dict()
    shared = {name: value for name, value in weights.items() if name.startswith(("backbone.", "normalization."))}
    single.model.load_state_dict(shared | dict(task.model.branch(kind).state_dict()))
    return single


def _batch_of(batch: MultiTaskBatch, kind: LabelKind) -> Any:
    """Return the pictures of a batch that have a kind of label, as that kind's task takes them."""
    image = batch["image"][batch["rows"][kind]]
    if kind == "classification":
        return ClassificationBatch(image=image, **batch["labels"]["classification"])
    if kind == "segmentation":
        return SegmentationBatch(image=image, **batch["labels"]["segmentation"])
    return DetectionBatch(image=image, **batch["labels"]["detection"])


def test_multi_task__loss_is_the_weighted_sum_of_those_of_the_single_tasks() -> None:
    weights = {"segmentation": 2.0, "detection": 0.5}
    task = _task(task_weights=weights)
    (batch,) = _data(train_size=6, batch_size=6).train_dataloader()
    expected = 0.0
    for kind in KINDS:
        expected += weights.get(kind, 1.0) * _single(task, kind).training_loss(_batch_of(batch, kind)).item()
    assert task.training_loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_multi_task__counts_what_pictures_have() -> None:
    task = _task().eval()
    (batch,) = _data(train_size=12, batch_size=12, missing_labels=1.0).train_dataloader()
    assert sum(map(len, batch["rows"].values())) == 2 * 12
    # In evaluation mode the norms do not mix pictures, so that each task may see its own alone.
    expected = sum(_single(task, kind).eval().training_loss(_batch_of(batch, kind)).item() for kind in KINDS)
    assert task.training_loss(batch).item() == pytest.approx(expected, rel=1e-5)
    del batch["rows"]["detection"], batch["labels"]["detection"]
    task.training_loss(batch).backward()  # type: ignore[no-untyped-call]
    assert task.get_parameter("model.branches.detection.head.scales").grad is None
    assert task.get_parameter("model.branches.segmentation.head.conv.weight").grad is not None


def test_multi_task__scores_equal_those_of_the_single_tasks(tmp_path: Path) -> None:
    task, data = _task().eval(), _data()
    (logged,) = quiet_trainer(tmp_path).validate(task, data, verbose=False)
    main = []
    for kind, name in zip(KINDS, ("accuracy", "miou", "map"), strict=True):
        single = _single(task, kind).eval()
        single.reset_evaluation()
        with torch.no_grad():
            for batch in data.val_dataloader():
                single.evaluate(_batch_of(batch, kind))
        scores = dict(single.scores())
        scores.pop("calibration_error_scaled", None)
        found = {key.removeprefix(f"val/{kind}/"): value for key, value in logged.items() if kind in key}
        assert found == pytest.approx(scores, rel=1e-5, abs=1e-6, nan_ok=True)
        main.append(scores[name])
    assert logged["val/score"] == pytest.approx(sum(main) / 3, rel=1e-5)
    assert logged["val/loss"] == pytest.approx(sum(logged[f"val/{kind}/loss"] for kind in KINDS), rel=1e-5)


def test_multi_task__learns_all_kinds_with_learned_weights(tmp_path: Path) -> None:
    data = _data(train_size=4, val_size=1, missing_labels=0.5)
    task = _task(task_weights="uncertainty", optimizer=partial(AdamW, lr=5e-3))
    (batch,) = data.train_dataloader()
    before = copy.deepcopy(task).model.losses(task.model(batch["image"], batch["rows"]), batch["labels"])
    quiet_trainer(tmp_path, max_epochs=40, limit_val_batches=0).fit(task, datamodule=data)
    after = task.model.losses(task.model(batch["image"], batch["rows"]), batch["labels"])
    assert set(after) == set(KINDS)
    assert all(after[kind] < 0.6 * before[kind] for kind in KINDS)
    (scores,) = quiet_trainer(tmp_path).validate(task, data, verbose=False)
    weights = {kind: scores[f"val/{kind}/weight"] for kind in KINDS}
    assert weights == pytest.approx(task.model.weighting.weights())
    assert all(abs(weight - 1) > 0.01 for weight in weights.values())


def test_multi_task__checkpoint_comes_back_and_knows_its_classes(tmp_path: Path) -> None:
    task, trainer = _task(task_weights="uncertainty", input_size=32), quiet_trainer(tmp_path)
    trainer.fit(task, _data(missing_labels=0.5))
    trainer.save_checkpoint(tmp_path / "task.ckpt")
    said = torch.load(tmp_path / "task.ckpt", weights_only=True)["resvision"]
    assert (said["task"], said["image_size"]) == ("MultiTask", [32, 32])
    assert said["class_names_by_kind"] == _names()
    again = MultiTask.load_from_checkpoint(tmp_path / "task.ckpt").eval()
    assert again.class_names_by_kind == task.class_names_by_kind
    assert again.model.weighting.weights() == task.model.weighting.weights()
    picture = torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(again(picture), task.eval()(picture))
    turned = _names() | {"detection": ["star", "triangle", "square", "circle"]}
    with pytest.raises(ValueError, match=r"detection: circle, .*, and this task .*; detection: star, triangle"):
        MultiTask.load_from_checkpoint(tmp_path / "task.ckpt", class_names=turned)


def test_multi_task__fine_tunes_the_weights_of_the_losses_too(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    torch.save(_task().model.backbone.state_dict(), weights)
    task = _task(task_weights="uncertainty", weights=str(weights), finetune="head")
    before = {name: value.clone() for name, value in task.model.named_parameters()}
    quiet_trainer(tmp_path, max_steps=2, limit_val_batches=0).fit(task, datamodule=_data())
    moved = {name.split(".")[0] for name, now in task.model.named_parameters() if not torch.equal(now, before[name])}
    assert moved == {"branches", "weighting"}


def test_multi_task__knows_the_kinds_that_it_is_told(tmp_path: Path) -> None:
    task = _task(class_names=_names("segmentation", "classification"))
    assert set(task(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))) == {"segmentation", "classification"}
    assert task.class_names == ("background", "circle", "square", "triangle", "star")


def test_multi_task__reports_a_table_and_that_of_each_kind(tmp_path: Path) -> None:
    task = _task(task_weights={"segmentation": 2.0})
    assert task.report() == "nothing was evaluated yet"
    assert task.tables() == {}
    (logged,) = quiet_trainer(tmp_path).validate(task, _data(), verbose=False)
    header, *rows = task.report().splitlines()
    assert header.split() == ["labels", "score", "of", "loss", "weight"]
    assert [row.split()[0] for row in rows[:4]] == [*KINDS, "mean"]
    assert rows[1].split()[1:] == [
        f"{logged['val/segmentation/miou']:.3f}",
        "miou",
        f"{logged['val/segmentation/loss']:.3f}",
        "2.000",
    ]
    assert {"classification", "segmentation", "detection"} <= set(rows)
    assert set(task.tables()) == {"confusion"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_names": {}}, "class_names must be given for a kind of label at least, of classification, seg"),
        ({"class_names": {"depth": ["near", "far"]}}, "no labels for 'depth'; there are classification, segmentation"),
        ({"class_names": {"segmentation": ["road"]}}, "segmentation tells 2 or more classes apart, got 1"),
        ({"class_names": {"detection": ["a", "a"]}}, "detection has 'a' more than once"),
        ({"task_weights": {"depth": 1.0}}, "task_weights name 'depth', and the labels are for classification, seg"),
        ({"task_weights": {"detection": -1.0}}, "the weight of detection must be a finite number above 0, got -1"),
        ({"channels": -1}, "^channels must be a whole number of at least 1, got -1$"),
    ],
)
def test_multi_task__refuses_what_cannot_be(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _task(**arguments)
