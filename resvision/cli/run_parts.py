"""What a training run writes into its folder: loggers, callbacks and checkpoints."""

import csv
import warnings
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, ModelSummary
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.plugins.io import CheckpointIO
from lightning.pytorch.utilities import rank_zero_only

from resvision.callbacks import (
    BestCheckpoint,
    CleanStop,
    EndTogether,
    ExactResume,
    FineTuningTable,
    FiniteLoss,
    Pictures,
    SafeCheckpointIO,
)
from resvision.tasks import VisionTask

__all__ = ["is_first_process", "run_callbacks", "run_loggers", "run_plugins"]


def run_loggers(folder: Path, given: Any, done: int = 0) -> list[Logger]:
    """Return the loggers of a run: its `metrics.csv`, its curves in `tensorboard/`, and those that a config names.

    Args:
        folder: The run folder.
        given: `trainer.logger` of the config: one, several, or nothing that counts.
        done: Steps that the run in this folder has done and goes on from.
    """
    curves = TensorBoardLogger(str(folder), name="", version="tensorboard", purge_step=done or None)
    loggers: list[Logger] = [_table(folder, done), curves]
    if isinstance(given, Logger):
        loggers.append(given)
    elif isinstance(given, list):
        loggers += given
    return loggers


def is_first_process() -> bool:
    """Return whether this process is the first of its run, or the only one."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _table(folder: Path, done: int) -> CSVLogger:
    """Return the logger of `metrics.csv`, which keeps the rows of the steps that are done.

    The first process does so; the others do not even know the folder of a new run.
    """
    path = folder / "metrics.csv"
    kept: list[dict[str, str]] = []
    columns: list[str] = []
    if done and is_first_process() and path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            kept = [row for row in reader if (row.get("step") or "").isdecimal() and int(row["step"]) < done]
    logger = CSVLogger(str(folder), name="", version="", flush_logs_every_n_steps=20)
    with warnings.catch_warnings():
        # Of a folder that is not empty it says that it deletes its table: it is put back.
        warnings.filterwarnings("ignore", message="Experiment logs directory")
        experiment = logger.experiment
    if kept:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(kept)
        experiment.metrics_keys = columns
    return logger


def run_plugins(given: Any) -> list[Any]:
    """Return the plugins of the config, and checkpoints that a crash cannot break unless it has its own.

    Args:
        given: `trainer.plugins` of the config: one, several or none.
    """
    plugins = [] if given is None else list(given) if isinstance(given, list) else [given]
    return plugins if any(isinstance(plugin, CheckpointIO) for plugin in plugins) else [*plugins, SafeCheckpointIO()]


def run_callbacks(folder: Path, task: VisionTask, seed: int, continued: Path | None = None) -> list[Callback]:
    """Return what every run has: exact resume, clean stops, summaries, pictures, the best and the last checkpoint.

    Args:
        folder: The run folder.
        task: Says by which score a checkpoint is the best.
        seed: Seed of the run.
        continued: `best.ckpt` of another run that this one continues.
    """
    checkpoints = folder / "checkpoints"
    best = BestCheckpoint(checkpoints, monitor=task.monitor, mode=task.mode, continued=continued)
    # After every epoch, also where validation is rarer; so a stopped run loses one epoch at most.
    last = _LastCheckpoint(
        checkpoints, filename="last", every_n_epochs=1, save_on_train_epoch_end=True, enable_version_counter=False
    )
    return [
        ExactResume(seed),
        EndTogether(),
        ModelSummary(max_depth=2),
        FineTuningTable(),
        LearningRateMonitor("step"),
        Pictures(folder / "pictures"),
        # After what else looks at a step, and before those that save it.
        FiniteLoss(folder / "nonfinite"),
        CleanStop(checkpoints / "last.ckpt"),
        best,
        last,
    ]


class _LastCheckpoint(ModelCheckpoint):
    """A type of its own: Lightning refuses a `ModelCheckpoint` of a config that has the same settings as another."""
