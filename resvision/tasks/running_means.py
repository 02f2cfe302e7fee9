"""Means over training steps, summed where they were computed, so that no step waits for the device."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["MeansState", "RunningMeans"]

MeansState = tuple[dict[str, Tensor], int, int]
"""Sums by name, over how many steps, and the optimiser's step at which the means were last taken."""


class RunningMeans:
    """Means of named numbers over the training steps since they were last taken.

    What is noted at one step is noted at each. Steps that accumulate gradients count like others.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
        self._taken_at = 0
        self._loaded: MeansState | None = None

    def note(self, name: str, value: Tensor) -> None:
        """Add a number of this step, a scalar on the device."""
        self._sums[name] = self._sums[name] + value if name in self._sums else value

    def end_step(self) -> None:
        """Count a step, when all of its numbers are noted."""
        self._steps += 1

    def begin(self, step: int, device: torch.device) -> None:
        """Begin at an optimiser's step, or go on with what was loaded."""
        sums, self._steps, self._taken_at = self._loaded or ({}, 0, step)
        self._sums = {name: value.to(device) for name, value in sums.items()}
        self._loaded = None

    def are_due(self, step: int, every: int) -> bool:
        """Tell whether an optimiser's step ends a stretch of `every` steps; 0 for never.

        While gradients accumulate the step does not move, and a stretch has one end.
        """
        return step != self._taken_at and every != 0 and step % every == 0

    def reach_back(self, batches: int) -> bool:
        """Tell whether nothing was taken over the last so many batches."""
        return self._steps >= batches

    def so_far(self) -> dict[str, Tensor]:
        """Return the means by name, and go on with them."""
        return {name: value / self._steps for name, value in self._sums.items()}

    def take(self, step: int) -> dict[str, Tensor]:
        """Return the means by name, and begin anew at an optimiser's step."""
        means = self.so_far()
        self._sums, self._steps, self._taken_at = {}, 0, step
        return means

    def state(self, reduce: Callable[[Tensor], Tensor]) -> MeansState:
        """Return what a checkpoint keeps.

        Args:
            reduce: Makes a sum of this process that of all, as the checkpoint is that of the first and read by all.
        """
        return {name: reduce(value) for name, value in self._sums.items()}, self._steps, self._taken_at

    def load_state(self, state: MeansState) -> None:
        """Keep what a checkpoint says until training begins."""
        self._loaded = state
