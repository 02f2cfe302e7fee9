"""Learning rates that change step by step."""

import math
from typing import Any, Final, final

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.types import LRSchedulerConfigType
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from resvision.layers import check_whole

__all__ = ["DropAtSteps", "WarmupCosine", "apply_factors_to_cycle", "peaks_of", "when_to_step"]


@final
class WarmupCosine(LRScheduler):
    """Raise the learning rate in a straight line, then lower it along half a cosine to 0, step by step.

    Goyal et al. 2017 (arXiv:1706.02677, section 2.2) and Loshchilov, Hutter 2016 (arXiv:1608.03983, without
    restarts).

    Its state is how far the run is, and nothing else: a run that is continued with more epochs, another
    warm-up or another learning rate follows what it is told now.

    Args:
        optimizer: Its learning rates are the peaks.
        total_steps: Optimiser steps of the whole run. None leaves it to `run_for`, which a task calls with
            what the trainer will do.
        warmup: Part of the run that is spent rising, 0 to below 1.

    Raises:
        ValueError: `total_steps` or `warmup` is out of range; or, on `step`, the length of the run was never given.
    """

    def __init__(self, optimizer: Optimizer, *, total_steps: int | None = None, warmup: float = 0.05) -> None:
        if total_steps is not None:
            check_whole("total_steps", total_steps, 1)
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup must be a part of the run, from 0 to below 1, got {warmup}")
        self.total_steps = total_steps
        self.warmup = warmup
        self._follows_run = total_steps is None
        super().__init__(optimizer)

    def run_for(self, total_steps: int) -> None:
        """Set the length of the run, in optimiser steps, and the learning rate of the present step."""
        self.total_steps = total_steps
        self._apply()

    def end_after(self, steps: float) -> None:
        """Go on from where the run has so many steps to go, if its length was set by `run_for` and so is known.

        That is not the number of steps taken where those before had more or fewer pictures.
        """
        if self._follows_run and self.total_steps is not None:
            self.last_epoch = self.total_steps - int(steps)
            self._apply()

    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rate of the present step, for each parameter group."""
        factor = self._factor()
        return [factor * peak for peak in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps taken."""
        return {"last_epoch": self.last_epoch, "_step_count": self._step_count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the number of steps taken."""
        super().load_state_dict(state_dict)
        self._apply()

    def _factor(self) -> float:
        step = self.last_epoch
        if self.total_steps is None:
            if step > 0:
                raise ValueError("WarmupCosine does not know the length of the run: give total_steps")
            return 1.0
        rising = round(self.warmup * self.total_steps)
        if step < rising:
            return (step + 1) / (rising + 1)
        progress = (step - rising) / max(self.total_steps - rising, 1)
        return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

    def _apply(self) -> None:
        self._last_lr = self.get_lr()
        for group, lr in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = lr


@final
class DropAtSteps(LRScheduler):
    """Lower the learning rate by a factor after given numbers of optimiser steps (He et al. 2015, section 4.2).

    Args:
        optimizer: Its learning rates are those to begin with.
        steps: After how many steps, in their order.
        factor: What the learning rate is multiplied by each time, between 0 and 1.

    Raises:
        ValueError: The steps are in no order, or the factor is out of range.
    """

    def __init__(self, optimizer: Optimizer, *, steps: list[int], factor: float = 0.1) -> None:
        if sorted(set(steps)) != list(steps) or any(step < 1 for step in steps):
            raise ValueError(f"steps must be numbers of steps above 0, each larger than the one before, got {steps}")
        if not 0 < factor < 1:
            raise ValueError(f"factor must lie between 0 and 1, got {factor}")
        self.steps = list(steps)
        self.factor = factor
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Return the learning rate of the present step, for each parameter group."""
        drops = sum(step <= self.last_epoch for step in self.steps)
        return [rate * self.factor**drops for rate in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps taken."""
        return {"last_epoch": self.last_epoch, "_step_count": self._step_count}


#: Schedules that count optimiser steps; all others count epochs.
_STEPPED_EVERY_STEP: Final = (WarmupCosine, DropAtSteps, OneCycleLR, CyclicLR)


def apply_factors_to_cycle(scheduler: LRScheduler | ReduceLROnPlateau | None) -> None:
    """Give each group its part, `lr_factor`, of a `OneCycleLR` or `CyclicLR` that sets learning rates of its own.

    One that was given a peak for each group keeps them.
    """
    if scheduler is None or len(set(_peaks_of_cycle(scheduler))) != 1:
        return
    groups = scheduler.optimizer.param_groups
    factors = [group.get("lr_factor", 1.0) for group in groups]
    for group, factor in zip(groups, factors, strict=True):
        for name in group.keys() & {"lr", "initial_lr", "max_lr", "min_lr"}:
            group[name] = group[name] * factor
    for name in vars(scheduler).keys() & {"base_lrs", "max_lrs", "_last_lr"}:
        rates = getattr(scheduler, name)
        setattr(scheduler, name, [rate * factor for rate, factor in zip(rates, factors, strict=True)])


def peaks_of(optimizer: Optimizer, scheduler: LRScheduler | ReduceLROnPlateau | None) -> dict[str, float]:
    """Return the highest learning rate of each group by its name, as far as it is known."""
    groups = optimizer.param_groups
    rates = _peaks_of_cycle(scheduler) or [group.get("initial_lr", group["lr"]) for group in groups]
    return {group["name"]: float(rate) for group, rate in zip(groups, rates, strict=True)}


def _peaks_of_cycle(scheduler: LRScheduler | ReduceLROnPlateau | None) -> list[float]:
    if isinstance(scheduler, OneCycleLR):
        return [group["max_lr"] for group in scheduler.optimizer.param_groups]
    return scheduler.max_lrs if isinstance(scheduler, CyclicLR) else []


def when_to_step(
    scheduler: LRScheduler | ReduceLROnPlateau, trainer: Trainer | None, *, monitor: str, mode: str, has_loss: bool
) -> LRSchedulerConfigType:
    """Return what tells Lightning after what to step a schedule: a step, an epoch, or a validation's score.

    Args:
        scheduler: The schedule.
        trainer: Says which epochs end with a validation; None for all.
        monitor: Score that tells the best checkpoint.
        mode: Whether the best is the largest, `max`, or the smallest, `min`.
        has_loss: Whether there is a `val/loss`.

    Raises:
        ValueError: The schedule watches a loss that is not there.
    """
    if not isinstance(scheduler, ReduceLROnPlateau):
        interval = "step" if isinstance(scheduler, _STEPPED_EVERY_STEP) else "epoch"
        return {"scheduler": scheduler, "interval": interval}
    # Lightning's own plateau names what it watches; torch's watches what it can improve in its mode.
    watched = getattr(scheduler, "monitor", monitor if scheduler.mode == mode else "val/loss")
    if watched == "val/loss" and not has_loss:
        raise ValueError(
            "this task has no val/loss, which ReduceLROnPlateau watches in this mode; "
            f"give it mode: {mode}, and it watches {monitor}"
        )
    if trainer is None or not watched.startswith("val/"):
        return {"scheduler": scheduler, "monitor": watched}
    every = trainer.check_val_every_n_epoch
    # Where validations follow batches or minutes, for which there is no interval, an epoch may end before the first.
    strict = every is not None and hasattr(trainer, "val_check_interval")
    return {"scheduler": scheduler, "monitor": watched, "frequency": every or 1, "strict": strict}
