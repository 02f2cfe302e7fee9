"""The precision in which losses are computed, whatever autocast or the model says."""

import torch
from torch import Tensor

__all__ = ["at_least_fp32"]


def at_least_fp32(values: Tensor) -> Tensor:
    """Return values in fp32, or in fp64 if they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
