"""Everything that was said in an evaluation, for scores that need to see it at once."""

from typing import final

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

__all__ = ["Answers"]


@final
class Answers(Metric):
    """Keeps what was said and what is true, picture by picture, over all processes.

    Args:
        said: What is said of no picture, (0, ...), in the type and shape of what is said of some.
        truth: Likewise of what is true.
    """

    is_differentiable = False
    full_state_update = False

    said: list[Tensor]
    truth: list[Tensor]

    def __init__(self, said: Tensor, truth: Tensor) -> None:
        super().__init__()
        self._nothing = (said, truth)
        self.add_state("said", default=[], dist_reduce_fx="cat")
        self.add_state("truth", default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forget what was kept."""
        super().reset()
        # Of a process that keeps nothing, torchmetrics would send the others something of another type and shape.
        said, truth = self._nothing
        self.said, self.truth = [said.to(self.device)], [truth.to(self.device)]

    def update(self, said: Tensor, truth: Tensor) -> None:
        """Keep those of a batch, (N, ...) each."""
        self.said.append(said.detach())
        self.truth.append(truth)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return all that was said and all that is true since the last reset."""
        return dim_zero_cat(self.said), dim_zero_cat(self.truth)
