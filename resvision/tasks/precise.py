"""Counts that stay exact where a model computes in half precision."""

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["PictureMean", "PreciseMetric"]


class PreciseMetric(Metric):
    """Keeps its numbers in fp32, wherever they are moved to.

    With `trainer.precision: bf16-true` Lightning turns a task, and the metrics in it, to bf16, in which 256 + 1 is 256.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> torch.nn.Module:
        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            is_rounded = tensor.is_floating_point() and torch.finfo(moved.dtype).bits < torch.finfo(tensor.dtype).bits
            return tensor.to(moved.device) if is_rounded else moved

        return super()._apply(move, exclude_state)


@final
class PictureMean(PreciseMetric):
    """Mean over pictures of what batches of them give.

    (That of torchmetrics waits for the device to look for nan, or else ignores weights.)
    """

    is_differentiable = False
    full_state_update = False

    sum: Tensor
    pictures: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sum", default=torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("pictures", default=torch.zeros(()), dist_reduce_fx="sum")

    def update(self, value: Tensor, pictures: int | Tensor) -> None:
        """Add a batch.

        Args:
            value: Mean over pictures of the batch, a scalar.
            pictures: How many they are.
        """
        self.sum += value.to(self.sum.dtype) * pictures
        self.pictures += pictures

    def compute(self) -> Tensor:
        """Return the mean of everything that was counted since the last reset; `nan` of nothing."""
        return self.sum / self.pictures
