"""Runs under `torchrun` with two processes on the CPU, for `test_distributed.py`; writes what they come to as JSON."""

import json
import sys
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import Trainer
from numpy.typing import NDArray
from torch import Tensor, nn

from resvision.backbones import Backbone, BackboneEntry, registry
from resvision.callbacks import CleanStop, ExactResume, RunStopped
from resvision.data import Shapes, VisionDataModule
from resvision.data.base import Split, VisionDataset
from resvision.data.multi_task import Labels, MultiTaskDataset, MultiTaskSource
from resvision.features import FeatureSpec
from resvision.models import Detector
from resvision.tasks import ClassificationTask, DetectionTask, MultiTask, SegmentationTask
from tests.callbacks.signals import SendSignals
from tests.callbacks.small_runs import RandomBackbone, Rows, Run, assert_same_end, run

Scored = Literal["segmentation", "detection", "multi"]

SEED = 3


class PlainBackbone(Backbone):
    """Two convolutions without batch norm, whose statistics are those of one process's part of a batch."""

    def __init__(self, *, in_channels: int = 3) -> None:
        super().__init__(in_channels)
        self.stem = nn.Conv2d(in_channels, 8, 3, stride=2)
        self.stage1 = nn.Conv2d(8, 16, 3, stride=2)
        self.feature_specs = {"stem": FeatureSpec(8, 2), "stage1": FeatureSpec(16, 4)}
        self.stage_parameters = {"stem": ("stem.",), "stage1": ("stage1.",)}
        self.input_convolutions = ("stem",)

    def compute_features(self, images: Tensor) -> dict[str, Tensor]:
        stem = self.stem(images).relu()
        return {"stem": stem, "stage1": self.stage1(stem)}


class HalfLabelled(MultiTaskSource):
    """Lets pictures of even numbers keep their boxes and masks alone, and those of odd ones their classes alone."""

    def __init__(self, source: MultiTaskSource) -> None:
        self.source = source
        self.uniform_size = source.uniform_size

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> tuple[NDArray[Any], Labels]:
        image, labels = self.source.read(index)
        return image, Labels(labels.label, None, None) if index % 2 else Labels(None, labels.mask, labels.objects)

    def name(self, index: int) -> str:
        return self.source.name(index)


class HalfLabelledShapes(VisionDataModule):
    """Shapes of which no process sees all kinds of labels: two processes take turns."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__(shapes.class_names, 3, batch_size=1, num_workers=0, seed=SEED)
        self.shapes = shapes

    def build(self, split: Split) -> VisionDataset:
        whole = self.shapes.build(split)
        assert isinstance(whole, MultiTaskDataset)
        return MultiTaskDataset(HalfLabelled(whole.source), None, seed=SEED)


def curve(folder: Path, processes: int) -> list[dict[str, float]]:
    """Train 2 epochs of 4 steps, 2 pictures each in all; return what is logged. 5 pictures are validated."""
    registry._ENTRIES["plain"] = BackboneEntry("plain", PlainBackbone)
    torch.manual_seed(SEED)
    sizes = {"train_size": 8, "val_size": 5, "test_size": 1, "batch_size": 2 // processes}
    data = Shapes(32, task="classification", num_workers=0, seed=SEED, **sizes)  # type: ignore[arg-type]
    task = ClassificationTask(list(data.class_names), backbone="plain")
    rows = Rows()
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        callbacks=[ExactResume(SEED)],
        logger=rows,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    trainer.fit(task, datamodule=data)
    return rows.rows


def scores(kind: Scored, folder: Path, processes: int) -> dict[str, float]:
    """Score untrained weights on 5 pictures; return what is logged, and the number of all that was counted."""
    registry._ENTRIES["random"] = BackboneEntry("random", RandomBackbone)
    torch.manual_seed(SEED)
    # One by one: the Dice loss is of the pictures that share a batch.
    data: VisionDataModule
    data = shapes = Shapes(32, task=kind, train_size=2, val_size=5, test_size=1, batch_size=1, num_workers=0, seed=SEED)
    names = list(data.class_names)
    task: SegmentationTask | DetectionTask | MultiTask
    if kind == "multi":
        assert shapes.class_names_by_kind is not None
        by_kind = {name: list(classes) for name, classes in shapes.class_names_by_kind.items()}
        task = MultiTask(by_kind, backbone="random", decoder_stride=2, decoder_widths=[8], strides=[4, 8], channels=32)
        data = HalfLabelledShapes(shapes)
    elif kind == "segmentation":
        task = SegmentationTask(names, backbone="random", decoder_stride=2, decoder_widths=[8])
    else:
        task = DetectionTask(names, backbone="random", strides=[4, 8], channels=32)
        assert isinstance(task.model, Detector)
        head = task.model.head
        assert head.distances.bias is not None
        # Finds boxes of 12 and 24 pixels, with scores that lie far apart.
        nn.init.constant_(head.distances.bias, 1.5)
        nn.init.normal_(head.classes.weight, std=0.5)
    trainer = Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    (logged,) = trainer.validate(task, datamodule=data, verbose=False)
    if isinstance(task, MultiTask):
        return dict(logged)
    return {**logged, "counted": int(task.evaluation.confusion.compute().sum())}


def stop(folder: Path, rank: int) -> dict[str, Any]:
    """Let one process be told to stop; say at which step this one did."""
    data = Shapes(32, task="classification", train_size=64, val_size=2, test_size=1, batch_size=1, num_workers=0)
    task = ClassificationTask(list(data.class_names), backbone="plain")
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        callbacks=[SendSignals(3, ["SIGTERM"] if rank == 1 else []), CleanStop(folder / "last.ckpt")],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    try:
        trainer.fit(task, datamodule=data)
    except RunStopped as stopped:
        return {"step": stopped.step, "exit_code": stopped.exit_code}
    return {}


def resume(folder: Path, place: str) -> None:
    """Stop a run of two processes at a place, and go on with it."""
    registry._ENTRIES["random"] = BackboneEntry("random", RandomBackbone)
    # What fine-tuning has frozen gets no gradient.
    settings: dict[str, Any] = {"devices": 2, "strategy": "ddp_find_unused_parameters_true", "batch_size": 1}
    whole: Run = run("classification", folder, save=True, **settings)
    assert_same_end(run("classification", folder / place, resume=folder / f"{place}.ckpt", **settings), whole, place)


def main() -> None:
    folder = Path(sys.argv[1])
    rows = curve(folder / "curve", 2)
    rank = torch.distributed.get_rank()
    resume(folder / "resume", "3-batch")
    scored = {kind: scores(kind, folder / kind, 2) for kind in get_args(Scored)}
    said = {"rows": rows, "scores": scored, "rank": rank, "stop": stop(folder / "stop", rank)}
    (folder / f"{rank}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main()
