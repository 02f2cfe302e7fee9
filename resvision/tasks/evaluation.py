"""What counting the answers to one kind of question has in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from resvision.tasks.precise import PictureMean

__all__ = ["Evaluation"]


class Evaluation(nn.Module, ABC):
    """Counts what a model says over a split, and scores it; without Lightning, and for one kind of label.

    Args:
        class_names: One name per class, in the order of their numbers.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__()
        self.class_names = tuple(map(str, class_names))
        self.loss = PictureMean()

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
