"""Runs of a few steps that draw as many random numbers as the long ones, and what they leave."""

import csv
import os
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from lightning.pytorch.loggers import Logger
from torch import Tensor
from torch.nn import functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import ReduceLROnPlateau

from resvision.backbones import create_backbone
from resvision.callbacks import BatchAugmentation, ExactResume, WeightEMA
from resvision.data import IdentityFolder, ImageCSV, Shapes, VisionDataModule
from resvision.layers.drop_path import DropPath
from resvision.tasks import (
    ClassificationTask,
    DetectionTask,
    MultiLabelTask,
    MultiTask,
    SegmentationTask,
    VerificationTask,
    VisionTask,
)
from tests.models.toy import ToyBackbone

Kind = Literal["segmentation", "classification", "detection", "multi", "multi_label", "verification"]

SEED = 7  # of the run: 9 pictures in batches of 2 make 4 batches an epoch, and there are 3 epochs
BATCHES = 4
EPOCHS = 3


class RandomBackbone(ToyBackbone):
    """Draws random numbers in each training step: dropout, and drop path."""

    def __init__(self, *, in_channels: int = 3) -> None:
        super().__init__(in_channels=in_channels)
        self.drop_path = DropPath(0.3)

    def compute_features(self, images: Tensor) -> dict[str, Tensor]:
        features = super().compute_features(images)
        return {name: self.drop_path(F.dropout(value, 0.3, self.training)) for name, value in features.items()}


class Rows(Logger):
    """Keeps what is logged, each row with its step."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []

    @property
    def name(self) -> str:
        return "rows"

    @property
    def version(self) -> str:
        return "0"

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append(metrics | {"step": -1 if step is None else step})

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        pass


class Watch(Checkpoint):
    """Keeps the batches; saves where the product does: before a batch, in a validation, after an epoch.

    It is a `Checkpoint`, so that early stopping has seen an epoch before it is saved.
    """

    def __init__(self, folder: Path | None, rows: Rows) -> None:
        self.folder = folder
        self.rows = rows
        self.batches: list[tuple[list[int], Tensor]] = []
        self.saved: dict[str, tuple[int, int]] = {}

    def _save(self, trainer: Trainer, place: str) -> None:
        done = len(self.batches)
        if self.folder is not None and done and done % trainer.accumulate_grad_batches == 0:
            self.saved[f"{done}-{place}"] = done, len(self.rows.rows)
            trainer.save_checkpoint(self.folder / f"{done}-{place}.ckpt")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._save(trainer, "batch")
        self.batches.append((batch["index"].tolist(), batch["image"].clone()))

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if batch_idx == 1 and trainer.world_size == 1:  # of several processes one may have no second batch
            self._save(trainer, "validation")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer, "epoch")


class Run(NamedTuple):
    """What a run visited, logged and saved, and the checkpoint at its end."""

    batches: list[tuple[list[int], Tensor]]
    rows: list[dict[str, float]]
    saved: dict[str, tuple[int, int]]
    end: dict[str, Any]


def run(
    kind: Kind,
    folder: Path,
    *,
    workers: int = 0,
    resume: Path | None = None,
    save: bool = False,
    batch_size: int = 2,
    accelerator: str = "cpu",
    **settings: Any,
) -> Run:
    """Train for 3 epochs, or go on with a run."""
    seed_everything(SEED if resume is None else 1234, verbose=False)  # a new process has drawn other numbers
    folder.mkdir(parents=True, exist_ok=True)
    data = small_data(kind, folder, batch_size=batch_size, num_workers=workers, seed=SEED, augmentation="strong")
    rows = Rows()
    watch = Watch(folder if save else None, rows)
    trainer = Trainer(
        max_epochs=EPOCHS,
        accelerator=accelerator,
        callbacks=[*_callbacks(kind), ExactResume(SEED), watch],
        logger=rows,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=3,
        default_root_dir=folder,
        **settings,
    )
    trainer.fit(small_task(kind, data, folder), datamodule=data, ckpt_path=resume, weights_only=True)
    end = folder / "end.ckpt"
    trainer.save_checkpoint(end)
    return Run(watch.batches, rows.rows, watch.saved, torch.load(end, weights_only=True))


def small_data(kind: Kind, folder: Path, **settings: Any) -> VisionDataModule:
    """Return 9 pictures to train on, and 3 or 4 to validate on."""
    if kind == "multi_label":
        names = [f"{number}.png" for number in range(12)]
        _write_pictures(folder / "data", names)
        with (folder / "data" / "labels.csv").open("w", newline="") as file:
            shown = (";".join(name for bit, name in enumerate("abc") if number >> bit & 1) for number in range(12))
            splits = ["train"] * 9 + ["val"] * 3
            csv.writer(file).writerows([("path", "labels", "split"), *zip(names, shown, splits, strict=True)])
        return ImageCSV(str(folder / "data"), image_size=32, **settings)
    if kind == "verification":
        people = {"ann": 5, "bob": 4, "cem": 2, "dan": 2}
        _write_pictures(folder / "data", [f"{name}/{number}.png" for name in people for number in range(people[name])])
        return IdentityFolder(str(folder / "data"), val=["cem", "dan"], image_size=32, **settings)
    missing = 0.6 if kind == "multi" else 0.0
    return Shapes(32, task=kind, train_size=9, val_size=3, test_size=1, missing_labels=missing, **settings)


def _write_pictures(root: Path, names: list[str]) -> None:
    rng = np.random.default_rng(SEED)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), rng.integers(0, 256, (36, 36, 3), dtype=np.uint8))


def small_task(kind: Kind, data: VisionDataModule, folder: Path) -> VisionTask:
    names = list(data.class_names)
    optimizer = partial(AdamW, lr=0.01)
    if kind == "segmentation":
        return SegmentationTask(names, backbone="random", decoder_stride=2, decoder_widths=[8], optimizer=optimizer)
    if kind == "detection":
        return DetectionTask(names, backbone="random", strides=[4, 8], channels=32, optimizer=optimizer)
    if kind == "multi":
        assert data.class_names_by_kind is not None
        by_kind = {name: list(classes) for name, classes in data.class_names_by_kind.items()}
        sizes: dict[str, Any] = {"decoder_stride": 2, "decoder_widths": [8], "strides": [4, 8], "channels": 32}
        return MultiTask(by_kind, backbone="random", task_weights="uncertainty", optimizer=optimizer, **sizes)
    if kind == "multi_label":
        return MultiLabelTask(names, backbone="random", dropout=0.2, optimizer=optimizer)
    if kind == "verification":
        return VerificationTask(names, backbone="random", embedding_size=8, dropout=0.2, optimizer=optimizer)
    weights = folder / f"weights-{os.getpid()}.pth"  # of two processes none reads what the other is writing
    torch.save(create_backbone("random").state_dict(), weights)
    scheduler = partial(ReduceLROnPlateau, mode="max", patience=0, factor=0.5)
    return ClassificationTask(
        names, backbone="random", weights=str(weights), finetune="gradual", optimizer=optimizer, scheduler=scheduler
    )


def _callbacks(kind: Kind) -> list[Callback]:
    if kind == "verification":
        return [WeightEMA(0.9), EarlyStopping("val/roc_auc", mode="max", patience=5)]
    if kind != "classification":
        return []
    mixing = BatchAugmentation(mixup=0.3, cutmix=1.0, random_erasing=0.5)
    return [mixing, WeightEMA(0.9), EarlyStopping("val/loss", patience=5)]


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Name what is not bit for bit the same."""
    if isinstance(a, Tensor):
        return [] if torch.equal(a, b) else [path]
    if isinstance(a, dict):
        assert a.keys() == b.keys(), f"{path}: {sorted(a)} and {sorted(b)}"
        return [difference for key in a for difference in differences(a[key], b[key], f"{path}/{key}")]
    if isinstance(a, list | tuple):
        assert len(a) == len(b), f"{path}: {len(a)} and {len(b)}"
        return [difference for i in range(len(a)) for difference in differences(a[i], b[i], f"{path}/{i}")]
    return [] if a == b or (a != a and b != b) else [f"{path}: {a} and {b}"]


def assert_same_end(resumed: Run, whole: Run, place: str) -> None:
    """Hold a run that went on from a place against the one that did not stop there."""
    done, logged = whole.saved[place]
    found = differences(resumed.batches, whole.batches[done:], "batches")
    found += differences(resumed.rows, whole.rows[logged:], "rows")
    for key in ("state_dict", "current_state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        if key in whole.end:
            found += differences(resumed.end[key], whole.end[key], key)
    found += differences(resumed.end["callbacks"], whole.end["callbacks"], "callbacks")
    assert not found, "\n".join(found)
