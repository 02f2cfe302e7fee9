"""A run whose loss is not a number any more, and stops."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from resvision.callbacks.batch_augmentation import BatchAugmentation
from resvision.callbacks.safe_checkpoints import write_atomically
from resvision.data.base import VisionDataModule
from resvision.data.sampler import SampleKey

__all__ = ["FiniteLoss", "NonFiniteLossError"]

#: Files that the message names; the report has all.
_NAMED: Final = 4


class NonFiniteLossError(FloatingPointError):
    """The loss, or a weight, is not a finite number."""


class _Step(NamedTuple):
    loss: Tensor
    step: int  # optimiser steps done, its own among them
    epoch: int
    batch: int  # in the epoch
    number: int  # in the run
    pictures: Tensor | None


@final
class FiniteLoss(Callback):
    """Stops a run whose loss is not finite, before a checkpoint of it is written.

    Lightning trains on and ends with code 0 (`terminate_on_nan` was removed by Lightning #12553; `detect_anomaly`
    makes a step several times as long, #12344). Here the losses stay on the device and are read together every few
    steps, and before every checkpoint and validation, so that no step waits for the device. A `ModelCheckpoint` with
    `save_weights_only` and `train_time_interval` may write after any step, so that each one waits then.

    What is needed to look into it is written into a folder: `report.json`, with the files of the batch, and `batch.pt`,
    the batch as the model saw it. It is made anew from the seed, the epoch and the pictures, so that no batch is kept.

    Args:
        folder: Folder for the two files; it is made when there is something to write.
        every: Steps between two looks at the losses.

    Raises:
        NonFiniteLossError: Out of `Trainer.fit`.
    """

    def __init__(self, folder: Path, every: int = 10) -> None:
        self.folder = folder
        self.every = every
        self._steps: list[_Step] = []
        self._weights_only: list[ModelCheckpoint] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier run, and note the checkpoints of which Lightning tells no other callback."""
        self._steps = []
        checkpoints = [one for one in trainer.checkpoint_callbacks if isinstance(one, ModelCheckpoint)]
        self._weights_only = [one for one in checkpoints if one.save_weights_only]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let all processes write into the folder of the first one."""
        self.folder = trainer.strategy.broadcast(self.folder)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss, and look at those since the last look if it is time."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if not isinstance(loss, Tensor):
            return
        number = trainer.fit_loop.epoch_loop.total_batch_idx
        pictures = batch.get("index") if isinstance(batch, Mapping) else None
        done, epoch = trainer.global_step, trainer.current_epoch
        self._steps.append(_Step(loss.detach(), done, epoch, batch_idx, number, pictures))
        if any(_may_save(one, done) for one in self._weights_only):
            self._look_at_all(trainer, pl_module)
        elif len(self._steps) > self.every:
            self._look(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look before a score could become the best."""
        self._look_before_saving(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look before the epoch is saved."""
        self._look_before_saving(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Look before this checkpoint is written."""
        self._look_at_all(trainer, pl_module)

    def _look_before_saving(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at what `on_save_checkpoint` will not be asked to look at."""
        if self._weights_only:
            self._look_at_all(trainer, pl_module)
        else:
            self._look(trainer)

    def _look_at_all(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the losses, and at the weights: a gradient may have spoilt them in a way that no loss shows yet."""
        self._look(trainer)
        if not self._steps:
            return
        bad = torch.stack([~parameter.detach().isfinite().all() for parameter in pl_module.parameters()]).any()
        if _is_so_anywhere(trainer, bad):
            raise NonFiniteLossError(self._report(trainer, self._steps[-1], "the weights are not finite after"))

    def _look(self, trainer: Trainer) -> None:
        """Look at the losses since the last look; of those only the newest step is kept, for its weights."""
        if not self._steps:
            return
        bad = ~torch.stack([step.loss for step in self._steps]).isfinite()
        if _is_so_anywhere(trainer, bad.any()):
            if not bad.any():
                raise NonFiniteLossError("the loss of another process is not finite; see what that process says")
            first = self._steps[int(bad.int().argmax())]
            raise NonFiniteLossError(self._report(trainer, first, f"the loss is {first.loss.item()} at"))
        self._steps = self._steps[-1:]

    def _report(self, trainer: Trainer, step: _Step, what: str) -> str:
        """Write what is known of a step; return a message."""
        where = f"{what} step {step.step} (epoch {step.epoch}, batch {step.batch})"
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, VisionDataModule):
            return where
        dataset, keys = data.dataset("train"), _keys(data, step)
        files = [dataset.name(key.index) for key in keys]
        drawn = dataset.collate([dataset[key] for key in keys])
        batch = data.on_after_batch_transfer(drawn, 0)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by Lightning's callback connector
            if isinstance(callback, BatchAugmentation):
                callback.on_train_batch_start(trainer, trainer.lightning_module, batch, step.batch)
        said = step._asdict() | {"what": where, "loss": str(step.loss.item()), "files": files}
        said |= {"seed": data.seed, "rank": trainer.global_rank}
        said["pictures"] = [key.index for key in keys]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / "batch.pt", lambda file: torch.save(dict(batch), file))
        text = json.dumps(said, indent=2) + "\n"
        write_atomically(self.folder / "report.json", lambda file: file.write(text.encode()))
        more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
        return f"{where}, in the pictures {', '.join(files[:_NAMED])}{more}; the batch is kept in {self.folder}"


def _keys(data: VisionDataModule, step: _Step) -> list[SampleKey]:
    """Return what the batch was made of."""
    keys = data.visited(step.epoch, step.batch)
    if step.pictures is None or [key.index for key in keys] == step.pictures.tolist():
        return keys
    # Another order than that of the data, as of `overfit_batches`, asks for numbers, which stand for epoch 0.
    return [SampleKey(0, index) for index in step.pictures.tolist()]


def _may_save(checkpoint: ModelCheckpoint, step: int) -> bool:
    """Say whether one is written after this step, as far as that can be known."""
    every = checkpoint._every_n_train_steps
    return checkpoint._train_time_interval is not None or (every > 0 and step % every == 0)


def _is_so_anywhere(trainer: Trainer, bad: Tensor) -> bool:
    if trainer.world_size == 1:
        return bool(bad)
    return trainer.strategy.reduce_boolean_decision(bool(bad), all=False)
