"""How high a learning rate may be: one short training in which it rises."""

import math
from statistics import fmean
from typing import Any, Final, final

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["LearningRateRange"]

#: Share of the smoothed loss that stays from one step to the next. The 0.98 of Lightning lags by 50 steps of 100.
_SMOOTHING: Final = 0.9
#: A smoothed loss of so many times the best one ends the test.
_DIVERGED: Final = 4.0
#: Part of the steps whose losses are not looked at: the smoothed loss has hardly begun.
_SKIPPED: Final = 0.1


@final
class LearningRateRange(Callback):
    """Raises the learning rate exponentially from step to step, and keeps the losses (Smith 2015, arXiv:1506.01186).

    Unlike in Lightning's `LearningRateFinder`, parameter groups keep the ratios of their learning rates, so that it can
    be used in fine-tuning; what is varied is the largest, which is the optimiser's. The weights are of no use after it:
    give it a trainer and a task of their own, and no schedule.

    Args:
        steps: Steps from the lowest to the highest learning rate.
        lowest: Learning rate of the first step.
        highest: Learning rate of the last step.

    Attributes:
        least_steps: Fewest steps that it takes.
        rates: Learning rate of each step that was taken.
        losses: Smoothed loss of each step that was taken.

    Raises:
        ValueError: There are too few steps, or the learning rates do not rise from above 0.
    """

    least_steps: Final = 10

    def __init__(self, steps: int = 100, lowest: float = 1e-6, highest: float = 10.0) -> None:
        if steps < self.least_steps:
            raise ValueError(f"steps must be at least {self.least_steps}, got {steps}")
        if not 0 < lowest < highest:
            raise ValueError(f"lowest must be above 0 and highest above lowest, got {lowest} and {highest}")
        self.steps = steps
        self.lowest = lowest
        self.highest = highest
        self._ratios: list[float] = []
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._average = 0.0
        self._batches: list[float] = []  # losses of the batches of a step whose gradients are accumulated, so far

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier test, and note the ratios of the learning rates."""
        self._begin_anew()
        rates = [float(group["lr"]) for group in trainer.optimizers[0].param_groups]
        self._ratios = [rate / max(rates) for rate in rates]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Set the learning rate of this step."""
        rate = self._rate(len(self.losses))
        for group, ratio in zip(trainer.optimizers[0].param_groups, self._ratios, strict=True):
            group["lr"] = rate * ratio

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss of a step, and stop where it runs away."""
        # Lightning has divided it by the batches of a whole step; the last step of an epoch may have fewer.
        self._batches.append(outputs["loss"].item() * trainer.accumulate_grad_batches)
        if trainer.global_step == len(self.losses):
            return
        loss, self._batches = fmean(self._batches), []
        self.rates.append(self._rate(len(self.losses)))
        self._average = _SMOOTHING * self._average + (1 - _SMOOTHING) * loss
        self.losses.append(self._average / (1 - _SMOOTHING ** (len(self.losses) + 1)))
        ran_away = not math.isfinite(loss) or self.losses[-1] > _DIVERGED * min(self.losses)
        if ran_away or len(self.losses) == self.steps:
            trainer.should_stop = True

    def _rate(self, step: int) -> float:
        return self.lowest * math.pow(self.highest / self.lowest, min(step / (self.steps - 1), 1.0))

    def suggestion(self) -> float:
        """Return the learning rate at which the loss falls most steeply, over the logarithm of the learning rate.

        Raises:
            ValueError: The loss fell nowhere.
        """
        first = int(_SKIPPED * self.steps)
        slopes = {
            place: self.losses[place + 1] - self.losses[place - 1]
            for place in range(first + 1, len(self.losses) - 1)
            if math.isfinite(self.losses[place + 1])
        }
        steepest = min(slopes, key=slopes.__getitem__, default=None)
        if steepest is None or slopes[steepest] >= 0:
            raise ValueError("the loss fell at no learning rate; look at the data, or try more steps")
        return self.rates[steepest]
