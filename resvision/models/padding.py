"""Filling up pictures that are smaller than a backbone takes."""

from torch import Tensor
from torch.nn import functional as F

__all__ = ["padded"]


def padded(x: Tensor, least_side: int) -> Tensor:
    """Continue the last row and column of pictures (N, C, H, W) until both sides have a least length."""
    height, width = x.shape[-2:]
    below, beside = max(least_side - height, 0), max(least_side - width, 0)
    return F.pad(x, (0, beside, 0, below), mode="replicate") if below or beside else x
