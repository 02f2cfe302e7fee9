"""What a training run writes into its folder: loggers and callbacks."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, ModelSummary
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from resvision.callbacks import ExactResume, FineTuningTable, Pictures
from resvision.tasks import VisionTask

__all__ = ["run_callbacks", "run_loggers"]


def run_loggers(folder: Path, given: Any) -> list[Logger]:
    """Return the loggers of a run: its `metrics.csv`, its curves in `tensorboard/`, and those that a config names.

    Args:
        folder: The run folder, still empty.
        given: `trainer.logger` of the config: one, several, or nothing that counts.
    """
    table = CSVLogger(str(folder), name="", version="", flush_logs_every_n_steps=20)
    # It warns of a folder that is not empty, so it comes before everything else that is put there.
    _ = table.experiment
    loggers: list[Logger] = [table, TensorBoardLogger(str(folder), name="", version="tensorboard")]
    if isinstance(given, Logger):
        loggers.append(given)
    elif isinstance(given, list):
        loggers += given
    return loggers


def run_callbacks(folder: Path, task: VisionTask, seed: int) -> list[Callback]:
    """Return what every run has: exact resume, summaries, learning rates, pictures, the best and the last checkpoint.

    Args:
        folder: The run folder.
        task: Says by which score a checkpoint is the best.
        seed: Seed of the run.
    """
    checkpoints = folder / "checkpoints"
    best = ModelCheckpoint(
        checkpoints, filename="best", monitor=task.monitor, mode=task.mode, enable_version_counter=False
    )
    # After every epoch, also where validation is rarer; so a stopped run loses one epoch at most.
    last = ModelCheckpoint(
        checkpoints, filename="last", every_n_epochs=1, save_on_train_epoch_end=True, enable_version_counter=False
    )
    return [
        ExactResume(seed),
        ModelSummary(max_depth=2),
        FineTuningTable(),
        LearningRateMonitor("step"),
        Pictures(folder / "pictures"),
        best,
        last,
    ]
