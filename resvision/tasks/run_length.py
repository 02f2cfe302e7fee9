"""How long a run is by the settings of its trainer."""

import math

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, Timer

from resvision.layers import check_whole

__all__ = ["check_trainer", "steps_of"]


def check_trainer(trainer: Trainer) -> None:
    """Refuse settings by which Lightning would train nothing without a word, or divide by 0.

    Raises:
        ValueError: There is one.
    """
    check_whole("trainer.accumulate_grad_batches", trainer.accumulate_grad_batches, 1)
    for name in ("check_val_every_n_epoch", "val_check_interval"):
        every = getattr(trainer, name, None)  # there is no interval where validations follow minutes
        if every is not None and every <= 0:
            raise ValueError(
                f"trainer.{name} must be above 0, got {every}; trainer.limit_val_batches: 0 leaves out validation"
            )
    nothing = [name for name in ("max_epochs", "max_steps", "limit_train_batches") if getattr(trainer, name) == 0]
    timers = [one for one in trainer.callbacks if isinstance(one, Timer)]  # type: ignore[attr-defined]  # as below
    if any(timer.time_remaining() == 0 for timer in timers):
        nothing.append("max_time")
    if nothing:
        raise ValueError(f"this run takes no training step: trainer.{nothing[0]} is 0")


def steps_of(trainer: Trainer) -> int:
    """Return the optimiser steps of the whole run, also where a callback accumulates gradients epoch by epoch.

    Raises:
        ValueError: It takes none, or has no end.
    """
    steps = trainer.estimated_stepping_batches
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by Lightning's callback connector
        if isinstance(callback, GradientAccumulationScheduler):
            steps = _steps_by_epoch(trainer, callback)
    if steps == 0:
        raise ValueError("this run takes no training step: the training data has no batch")
    if not 0 < steps < float("inf"):
        raise ValueError(
            "WarmupCosine needs a run with an end: set trainer.max_epochs, or trainer.max_steps where "
            "the data has no length"
        )
    return int(steps)


def _steps_by_epoch(trainer: Trainer, accumulation: GradientAccumulationScheduler) -> float:
    batches, epochs = trainer.num_training_batches, trainer.max_epochs
    if epochs is None or epochs < 0 or math.isinf(batches):
        return trainer.estimated_stepping_batches
    steps = sum(math.ceil(batches / accumulation.get_accumulate_grad_batches(epoch)) for epoch in range(epochs))
    return steps if trainer.max_steps == -1 else min(steps, trainer.max_steps)
