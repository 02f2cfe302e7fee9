"""A run that stops anywhere and goes on ends bit for bit as the one that never stopped."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.nn import functional as F

from resvision.backbones import BackboneEntry, registry
from resvision.callbacks import ExactResume
from resvision.data import Shapes
from resvision.tasks import SegmentationTask
from tests.models.toy import ToyBackbone

SEED = 7  # of the run; 7 pictures in batches of 2 make 3 batches an epoch, and there are 2 epochs


@pytest.fixture(autouse=True)
def _dropout_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._ENTRIES, "dropout", BackboneEntry("dropout", DropoutBackbone))


class DropoutBackbone(ToyBackbone):
    """Draws random numbers in each training step."""

    def compute_features(self, images: Tensor) -> dict[str, Tensor]:
        features = super().compute_features(images)
        return {name: F.dropout(feature, 0.3, training=self.training) for name, feature in features.items()}


class Visited(Callback):
    """Keeps which pictures each batch holds, and their pixels."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[int], Tensor]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.batches.append((batch["index"].tolist(), batch["image"].clone()))


class Run(NamedTuple):
    """What a run visited, and the checkpoint at its end."""

    batches: list[tuple[list[int], Tensor]]
    end: dict[str, Any]


def _run(folder: Path, *, workers: int = 0, resume: Path | None = None, exact: bool = True, **settings: Any) -> Run:
    seed_everything(SEED if resume is None else 1234, verbose=False)  # a new process has drawn other numbers
    data = Shapes(32, train_size=7, val_size=2, test_size=1, batch_size=2, num_workers=workers, seed=SEED)
    task = SegmentationTask(list(data.class_names), backbone="dropout", decoder_stride=2, decoder_widths=[8])
    visited = Visited()
    saves = [
        ModelCheckpoint(folder, "step-{step}", every_n_train_steps=1, save_top_k=-1),
        ModelCheckpoint(folder, "validated-{step}", monitor="val/loss", save_on_train_epoch_end=False, save_top_k=-1),
        ModelCheckpoint(folder, "epoch-{step}", save_on_train_epoch_end=True, save_top_k=-1),
    ]
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        callbacks=[visited, *saves, *([ExactResume(SEED)] if exact else [])],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        default_root_dir=folder,
        **settings,
    )
    trainer.fit(task, datamodule=data, ckpt_path=resume, weights_only=True)
    end = folder / "end.ckpt"
    trainer.save_checkpoint(end)
    return Run(visited.batches, torch.load(end, weights_only=True))


def _differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Name what is not bit for bit the same."""
    if isinstance(a, Tensor):
        return [] if torch.equal(a, b) else [path]
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        return [difference for key in a for difference in _differences(a[key], b[key], f"{path}/{key}")]
    if isinstance(a, list | tuple):
        assert len(a) == len(b), path
        return [difference for i in range(len(a)) for difference in _differences(a[i], b[i], f"{path}/{i}")]
    return [] if a == b else [f"{path}: {a} and {b}"]


def _assert_same_end(resumed: Run, whole: Run, done: int) -> None:
    assert _differences(resumed.batches, whole.batches[done:]) == []
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        assert _differences(resumed.end[key], whole.end[key], key) == []


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("place", ["step-step=1", "step-step=3", "validated-step=3", "epoch-step=3", "step-step=4"])
def test_exact_resume__ends_as_the_run_without_the_stop(tmp_path: Path, place: str, workers: int) -> None:
    whole = _run(tmp_path)
    resumed = _run(tmp_path / "resumed", resume=tmp_path / f"{place}.ckpt", workers=workers)
    _assert_same_end(resumed, whole, done=int(place[-1]))


@pytest.mark.parametrize(
    ("settings", "done"),
    [
        ({}, (1, 2, 3, 4, 5, 6)),
        ({"accumulate_grad_batches": 2}, (2, 3, 5, 6)),
        ({"limit_val_batches": 0}, (1, 2, 3, 4, 5, 6)),
        ({"val_check_interval": 1}, (1, 2, 3, 4, 5, 6)),
    ],
)
def test_exact_resume__of_a_run_that_stops_after_every_step(
    tmp_path: Path, settings: dict[str, Any], done: tuple[int, ...]
) -> None:
    whole = _run(tmp_path / "0", **settings)
    for step, batches in enumerate(done, start=1):
        before = tmp_path / str(step - 1) / f"step-step={step}.ckpt"
        resumed = _run(tmp_path / str(step), resume=before, **settings)
        _assert_same_end(resumed, whole, done=batches)


@pytest.mark.filterwarnings("ignore:You.re resuming from a checkpoint that ended before the epoch")
def test_exact_resume__does_what_lightning_does_not(tmp_path: Path) -> None:
    whole = _run(tmp_path, exact=False)
    resumed = _run(tmp_path / "resumed", resume=tmp_path / "step-step=4.ckpt", exact=False)
    assert [indices for indices, _ in resumed.batches] != [indices for indices, _ in whole.batches[4:]]
