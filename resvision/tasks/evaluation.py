"""What counting the answers to one kind of question has in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torchmetrics import MeanMetric

__all__ = ["Evaluation"]


class Evaluation(nn.Module, ABC):
    """Counts what a model says over a split, and scores it; without Lightning, and for one kind of label.

    Args:
        class_names: One name per class, in the order of their numbers.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__()
        self.class_names = tuple(class_names)
        self.loss = MeanMetric(nan_strategy="disable")  # the other strategies wait for the device

    @abstractmethod
    def update(self, said: Any, labels: Any, loss: Tensor) -> None:
        """Count a batch.

        Args:
            said: What the model says.
            labels: The truth.
            loss: Of the batch, a scalar.
        """

    @abstractmethod
    def scores(self) -> Mapping[str, float]:
        """Return the scores of what was counted, by their names."""

    @abstractmethod
    def report(self) -> str:
        """Return the scores that were last computed as a table in plain text."""

    def reset(self) -> None:
        """Forget what was counted; the report of it stays."""
        for metric in self.children():
            metric.reset()  # type: ignore[operator]  # all children are metrics

    def _count_loss(self, loss: Tensor, pictures: int) -> None:
        # Each picture counts once, in a last batch that is smaller too; torchmetrics ignores weights here.
        self.loss.update(loss.expand(pictures))
