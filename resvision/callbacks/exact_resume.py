"""A run that was stopped and goes on as if it had never been stopped."""

import warnings
from math import ceil
from typing import Any, NamedTuple, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from resvision.data.base import VisionDataModule
from resvision.data.seeding import fold
from resvision.tasks.schedules import WarmupCosine

__all__ = ["ExactResume"]


class _Place(NamedTuple):
    """Where a checkpoint stands: in an epoch, from 0, after so many of its batches."""

    epoch: int
    batch: int


@final
class ExactResume(Callback):
    """Makes a resumed run see the batches and draw the random numbers that it would have without the stop.

    Lightning saves no random state, and a resumed epoch begins with its first batch again (Lightning #20550); with
    worker processes the first resumed epoch has the order of epoch 0 (#21938). Here no random state needs saving:
    the order and the augmentation are functions of seed, epoch and picture, and what the model draws (dropout, drop
    path) becomes a function of seed and step. What is left is to tell the data where to begin, before the loader
    exists, and Lightning which of its hooks the checkpoint was written before: it would leave out a validation that
    was due, miscount epochs and logged steps, and forget a `ReduceLROnPlateau` at the end of an epoch.

    The weights, the batches, the epochs and the validations are those of the run without the stop, whichever hook
    wrote the checkpoint and however often the run is resumed. Gradients that were being accumulated are not in a
    checkpoint: write them after an optimiser step. Nor is what early stopping makes of an epoch, if a callback of your
    own writes the checkpoint in `on_train_epoch_end`: Lightning lets it look after that.

    Where it goes on with another batch size, accumulation or number of processes, which cannot be exact, the epoch goes
    on with whole batches of the new size, and `WarmupCosine` from the same part of the run.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._validated = 0  # batches trained before the last whole validation
        self._watched: dict[str, float] = {}  # what plateau schedulers look at
        self._plateau_due = False
        self._pace: dict[str, int] = {}  # pictures of a `batch`, of all processes; optimiser `steps` of an epoch
        self._resumed_at = _Place(0, 0)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier run; a checkpoint to go on from is loaded after this."""
        if stage == "fit":
            self._begin_anew()

    # What a checkpoint says

    def state_dict(self) -> dict[str, Any]:
        """Return what Lightning does not save of where it stands."""
        return {"validated": self._validated, "watched": self._watched, "pace": self._pace}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Know again what was known."""
        self._validated, self._watched = state_dict["validated"], state_dict["watched"]
        self._pace = state_dict.get("pace", {})

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let no logged value be younger on the disk than the checkpoint that follows it."""
        for logger in trainer.loggers:
            logger.save()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Tell the data module, and Lightning, where the checkpoint stands in its epoch."""
        data = getattr(trainer, "datamodule", None)
        if trainer.state.fn != "fit" or not isinstance(data, VisionDataModule):
            return
        # Lightning cannot know that the loader begins where the checkpoint stands.
        warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before the epoch")
        loop = checkpoint["loops"]["fit_loop"]
        batches, epochs = loop["epoch_loop.batch_progress"], loop["epoch_progress"]["current"]
        if batches["current"]["ready"] > batches["current"]["processed"]:
            batches["is_last_batch"] = False  # of a batch that was begun, and is yet to come
        for counts in (batches["current"], batches["total"]):
            # A batch that was trained is done, whichever of its hooks was still to come.
            counts["ready"] = counts["started"] = counts["completed"] = counts["processed"]
        state = checkpoint["callbacks"].get(self.state_key)
        epoch_is_over = epochs["processed"] == epochs["started"]
        batch = data.batch_size * trainer.world_size
        before = batch if state is None else state.get("pace", {}).get("batch", batch)
        if before != batch and not epoch_is_over:
            done = batches["current"]["processed"] * before // trainer.world_size
            batches["current"] |= dict.fromkeys(batches["current"], data.batch_after(done))
            batches["is_last_batch"] = False
        in_epoch = batches["current"]["processed"] > 0  # else Lightning takes batch 0 for one that validation follows
        if in_epoch and state is not None and state["validated"] < batches["total"]["processed"]:
            # Looks to Lightning like a validation in its first batch, which it goes back to if one is due.
            validation = loop["epoch_loop.val_loop.batch_progress"]
            validation["total"] |= {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            validation["current"] |= {"ready": 0, "started": 0, "processed": 0, "completed": 0}
        self._plateau_due = epochs["completed"] < epochs["processed"]
        self._resumed_at = _Place(epochs["processed"], 0 if epoch_is_over else batches["current"]["processed"])
        data.resume_at(*self._resumed_at)

    # While training

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the schedule end with the run, where an epoch now has more or fewer steps too."""
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, VisionDataModule):
            return
        now = {"batch": data.batch_size * trainer.world_size, "steps": _steps_of_epoch(trainer)}
        before, self._pace = self._pace, now
        if before and before != self._pace:
            for config in trainer.lr_scheduler_configs:
                if isinstance(config.scheduler, WarmupCosine):
                    config.scheduler.end_after(_steps_left(trainer, self._resumed_at))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make up for the step of a plateau scheduler that was to follow the checkpoint, or the epoch before."""
        self._step_plateau_schedulers_if_due(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make up for it after the last epoch, before the last checkpoint."""
        self._step_plateau_schedulers_if_due(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make up for it where nothing was left to train, for which Lightning calls no hook before this one."""
        self._step_plateau_schedulers_if_due(trainer, pl_module)

    def _step_plateau_schedulers_if_due(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._plateau_due:
            return
        self._plateau_due = False
        for config in trainer.lr_scheduler_configs:
            due = config.interval == "epoch" and trainer.current_epoch % config.frequency == 0
            if config.reduce_on_plateau and due and config.monitor in self._watched:
                pl_module.lr_scheduler_step(config.scheduler, self._watched[config.monitor])

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Give this step of this process its own random numbers."""
        _count_logged_steps(trainer, pl_module)
        seed = fold(self.seed, "step", trainer.fit_loop.epoch_loop.total_batch_idx, trainer.global_rank)
        device = pl_module.device
        if device.type in ("cpu", "cuda"):
            # `torch.manual_seed` would walk all backends, which takes longer than the rest of this callback.
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                torch.cuda.default_generators[device.index].manual_seed(seed)
        else:
            torch.manual_seed(seed)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that this validation is done, and what it says to plateau schedulers."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._validated = trainer.fit_loop.epoch_loop.total_batch_idx + 1
            self._watch(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what plateau schedulers are about to look at, and let them, in an epoch that was resumed too."""
        _count_logged_steps(trainer, pl_module)
        known = self._watch(trainer)
        if trainer.fit_loop.restarting and self._watched:
            # Lightning leaves them out, as the scores of a validation before the stop are gone.
            if known:
                trainer.fit_loop._restarting = False
            else:
                self._plateau_due = True

    def _watch(self, trainer: Trainer) -> bool:
        """Note what plateau schedulers look at; say whether all of that was logged since the start of the process."""
        watched = {str(config.monitor) for config in trainer.lr_scheduler_configs if config.reduce_on_plateau}
        logged = {name: float(trainer.callback_metrics[name]) for name in watched & trainer.callback_metrics.keys()}
        self._watched |= logged
        return len(logged) == len(watched)


def _steps_of_epoch(trainer: Trainer) -> int:
    return ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)


def _steps_left(trainer: Trainer, place: _Place) -> float:
    """Return the optimiser steps from a place to the end of the run, which may have none."""
    left: float = float("inf") if trainer.max_steps == -1 else trainer.max_steps - trainer.global_step
    if trainer.max_epochs is not None and trainer.max_epochs != -1:
        done = min(place.batch, trainer.num_training_batches) // trainer.accumulate_grad_batches
        left = min(left, (trainer.max_epochs - place.epoch) * _steps_of_epoch(trainer) - done)
    return left


def _count_logged_steps(trainer: Trainer, pl_module: LightningModule) -> None:
    """Give loggers the right step: after some checkpoints Lightning is one off."""
    if pl_module.automatic_optimization:
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
