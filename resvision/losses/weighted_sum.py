"""A weighted sum of losses, as a configuration names them."""

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final, Protocol

from torch import Tensor, nn

from resvision.batch import IGNORE_INDEX
from resvision.losses.pixel import cross_entropy, dice_loss, focal_loss

__all__ = ["LOSSES", "PixelLoss", "WeightedSum"]


class PixelLoss(Protocol):
    """A function of logits (N, K, H, W) and targets (N, H, W) to a scalar."""

    def __call__(self, logits: Tensor, target: Tensor, /, *, ignore_index: int = ...) -> Tensor: ...  # noqa: D102


#: The losses by the names that a configuration uses.
LOSSES: Final[Mapping[str, PixelLoss]] = {
    "cross_entropy": cross_entropy,
    "dice": dice_loss,
    "focal": focal_loss,
}


class WeightedSum(nn.Module):
    """Add losses, each times its weight.

    Args:
        weights: Weight of each loss by its name in `LOSSES`, as in `{"cross_entropy": 1.0, "dice": 1.0}`.
        ignore_index: Value of the target pixels that do not count.

    Raises:
        ValueError: No loss at all, an unknown name, or a weight that is not a finite number above 0.
    """

    def __init__(self, weights: Mapping[str, float], *, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        if not weights:
            raise ValueError(f"no loss is named; choose from {', '.join(LOSSES)}, each with a weight")
        for name, weight in weights.items():
            if name not in LOSSES:
                near = get_close_matches(name, LOSSES, n=1, cutoff=0)
                raise ValueError(f"unknown loss {name!r}; did you mean {near[0]!r}? There are {', '.join(LOSSES)}")
            if not (weight > 0 and math.isfinite(weight)):
                raise ValueError(f"the weight of loss {name!r} must be a finite number above 0, got {weight}")
        self.weights = dict(weights)
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Map logits (N, K, H, W) and integer targets (N, H, W) to a scalar."""
        terms = [
            weight * LOSSES[name](logits, target, ignore_index=self.ignore_index)
            for name, weight in self.weights.items()
        ]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def extra_repr(self) -> str:
        """Name the losses and their weights."""
        return " + ".join(f"{weight:g} {name}" for name, weight in self.weights.items())
