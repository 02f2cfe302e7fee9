"""One loss of several tasks: weights that are given, or learned."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import final

import torch
from torch import Tensor, nn

__all__ = ["FixedWeights", "TaskWeighting", "UncertaintyWeights"]


class TaskWeighting(nn.Module, ABC):
    """Adds the losses of tasks that share a network."""

    @abstractmethod
    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of those losses that there are, at least one, by their tasks; each is a scalar."""

    @abstractmethod
    def weights(self) -> dict[str, float]:
        """Return the factor of each task's loss."""


@final
class FixedWeights(TaskWeighting):
    """Multiply each loss by a number.

    Args:
        weights: By the task, each finite and above 0.

    Raises:
        ValueError: A weight is not.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        for task, weight in weights.items():
            if not 0 < weight < math.inf:
                raise ValueError(f"the weight of {task} must be a finite number above 0, got {weight}")
        self._weights = dict(weights)

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of the losses that there are."""
        return torch.stack([self._weights[task] * loss for task, loss in losses.items()]).sum()

    def weights(self) -> dict[str, float]:
        """Return the weights."""
        return dict(self._weights)

    def extra_repr(self) -> str:
        """Show the weights when the module is printed."""
        return ", ".join(f"{task}={weight:g}" for task, weight in self._weights.items())


@final
class UncertaintyWeights(TaskWeighting):
    """Learn how uncertain each task is, and let it count the less (Kendall, Gal, Cipolla 2018, arXiv:1705.07115).

    A loss that is the negative logarithm of a class's likelihood is divided by the variance sigma ** 2 of its task,
    which is kept from growing by log sigma (section 3.2; the factor 1/2 there is for the squared errors of a
    regression). As in the paper log(sigma ** 2) is learned; it begins at 0, a weight of 1. A task that has no loss in a
    batch adds nothing, so that its variance stays.

    Args:
        tasks: Their names.
    """

    def __init__(self, tasks: Iterable[str]) -> None:
        super().__init__()
        self.log_variances = nn.ParameterDict({task: nn.Parameter(torch.zeros(())) for task in tasks})

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of loss / sigma ** 2 + log sigma over the tasks that have a loss."""
        terms = []
        for task, loss in losses.items():
            log_variance = self.log_variances[task]
            terms.append(torch.exp(-log_variance) * loss + log_variance / 2)
        return torch.stack(terms).sum()

    def weights(self) -> dict[str, float]:
        """Return 1 / sigma ** 2 of each task."""
        return {task: math.exp(-log_variance.item()) for task, log_variance in self.log_variances.items()}
