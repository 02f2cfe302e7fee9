"""Stochastic depth."""

from typing import final

from torch import Tensor, nn

__all__ = ["DropPath", "drop_path_rates"]


@final
class DropPath(nn.Module):
    """Drop a residual branch for whole samples while training; (N, ...) to the same shape.

    Huang et al. 2016, arXiv:1603.09382. What is kept is scaled up, so that the expectation stays and
    evaluation needs no scaling.

    Args:
        rate: Share of samples whose branch is dropped, 0 <= rate < 1.

    Raises:
        ValueError: The rate is outside that range.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        _check_rate(rate)
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Drop and rescale while training, else pass through."""
        if not self.training or self.rate == 0:
            return x
        keep = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.rate)
        return x * keep.div_(1 - self.rate)

    def extra_repr(self) -> str:
        """Show the rate when the module is printed."""
        return f"rate={self.rate:.3f}"


def drop_path_rates(last: float, depth: int) -> list[float]:
    """Return one rate per block, from 0 at the first growing linearly to `last` (the paper's section 3).

    Raises:
        ValueError: `last` is not at least 0 and below 1.
    """
    _check_rate(last)
    return [last * block / max(depth - 1, 1) for block in range(depth)]


def _check_rate(rate: object) -> None:
    if not isinstance(rate, int | float) or not 0 <= rate < 1:
        raise ValueError(f"drop_path must be a number, at least 0 and below 1, got {rate!r}")
