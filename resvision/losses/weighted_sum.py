"""A weighted sum of losses, as a configuration names them."""

import math
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Final, Protocol

import torch
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
        weights: Weight of each loss by its name in `LOSSES`; by default cross-entropy and Dice, 1 each.
        class_weights: Weight of each class in the cross-entropy, 0 or more; the other losses have their own ways with
            rare classes.
        ignore_index: Value of the target pixels that do not count.

    Raises:
        ValueError: No loss at all, an unknown name, a weight that is not a finite number above 0, or class weights
            that are negative, not finite, all 0, or have no cross-entropy to go into.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        *,
        class_weights: Sequence[float] | None = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> None:
        super().__init__()
        if weights is None:
            weights = {"cross_entropy": 1.0, "dice": 1.0}
        _check_mapping(weights)
        if not weights:
            raise ValueError(f"no loss is named; choose from {', '.join(LOSSES)}, each with a weight")
        for name, weight in weights.items():
            if name not in LOSSES:
                near = get_close_matches(str(name), LOSSES, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(LOSSES)}"
                raise ValueError(f"unknown loss {name!r}; {hint}")
            if not (weight > 0 and math.isfinite(weight)):
                raise ValueError(f"the weight of loss {name!r} must be a finite number above 0, got {weight}")
        if class_weights is not None:
            if "cross_entropy" not in weights:
                raise ValueError(f"class_weights go into cross_entropy, and the losses are {', '.join(weights)}")
            if not (all(weight >= 0 for weight in class_weights) and 0 < sum(class_weights) < math.inf):
                raise ValueError(f"class_weights must be finite, 0 or more and not all 0, got {list(class_weights)}")
        tensor = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        # Not persistent: it follows from the arguments, and says nothing about what was learned.
        self.register_buffer("class_weights", tensor, persistent=False)
        self.weights = dict(weights)
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Map logits (N, K, H, W) and integer targets (N, H, W) to a scalar."""
        return torch.stack([weight * self._loss(name)(logits, target) for name, weight in self.weights.items()]).sum()

    def _loss(self, name: str) -> Callable[[Tensor, Tensor], Tensor]:
        if name == "cross_entropy":
            return partial(cross_entropy, class_weights=self.class_weights, ignore_index=self.ignore_index)
        return partial(LOSSES[name], ignore_index=self.ignore_index)

    def extra_repr(self) -> str:
        """Name the losses and their weights."""
        return " + ".join(f"{weight:g} {name}" for name, weight in self.weights.items())


def _check_mapping(weights: object) -> None:
    if not isinstance(weights, Mapping):
        raise ValueError(f"losses are weights by the names of losses, such as {{'dice': 1.0}}, got {weights!r}")
