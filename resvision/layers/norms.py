"""Normalisation layers, chosen by a word."""

import math
from collections.abc import Callable
from typing import Any, Literal, final, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resvision.layers.choices import check_choice

__all__ = ["FrozenBatchNorm2d", "Norm", "NormFactory", "norm_factory"]

Norm = Literal["batch", "group", "frozen", "sync", "none"]
NormFactory = Callable[[int], nn.Module]


@final
class FrozenBatchNorm2d(nn.Module):
    """Batch norm whose statistics and affine map never change: (N, C, H, W) to the same shape.

    Detection trains with one or two pictures per device, too few to estimate statistics from. The names
    are those of `nn.BatchNorm2d`, so that its weights load.

    Args:
        num_features: C.
        eps: Added to the variance.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(num_features))
        self.register_buffer("bias", torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the fixed affine map."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        state_dict.pop(prefix + "num_batches_tracked", None)  # counts batches seen in training; nothing to count here
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def _group_norm(channels: int) -> nn.GroupNorm:
    """Build 32 groups, or as many as divide narrow layers."""
    return nn.GroupNorm(math.gcd(32, channels), channels)


def _no_norm(channels: int) -> nn.Identity:
    return nn.Identity()


def norm_factory(norm: Norm) -> NormFactory:
    """Return what builds a normalisation layer from a number of channels.

    Args:
        norm: `batch`; `group`, 32 groups (Wu, He 2018); `frozen`, batch norm with fixed statistics;
            `sync`, batch norm over all devices; or `none`, which leaves the network without any biases too.

    Raises:
        ValueError: `norm` is none of these.
    """
    check_choice("norm", norm, get_args(Norm))
    factories: dict[Norm, NormFactory] = {
        "batch": nn.BatchNorm2d,
        "group": _group_norm,
        "frozen": FrozenBatchNorm2d,
        "sync": nn.SyncBatchNorm,
        "none": _no_norm,
    }
    return factories[norm]
