"""Learning rates over a run whose length is known."""

import math
from typing import Any, final

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

__all__ = ["WarmupCosine"]


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
        ValueError: `warmup` is out of range; or, on `step`, the length of the run was never given.
    """

    def __init__(self, optimizer: Optimizer, *, total_steps: int | None = None, warmup: float = 0.05) -> None:
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup must be a part of the run, from 0 to below 1, got {warmup}")
        self.total_steps = total_steps
        self.warmup = warmup
        super().__init__(optimizer)

    def run_for(self, total_steps: int) -> None:
        """Set the length of the run, in optimiser steps, and the learning rate of the present step."""
        self.total_steps = total_steps
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
