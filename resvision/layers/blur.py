"""Anti-aliased subsampling."""

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["BlurPool2d"]


@final
class BlurPool2d(nn.Module):
    """Blur with the 3x3 binomial kernel and subsample; (N, C, H, W) to (N, C, H / stride, W / stride).

    Zhang 2019, arXiv:1904.11486.

    Args:
        channels: C.
        stride: Step of the kernel.
    """

    kernel: Tensor

    def __init__(self, channels: int, *, stride: int = 2) -> None:
        super().__init__()
        self.channels = channels
        self.stride = stride
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        # Not persistent: it is a constant, and timm's checkpoints have no key for it.
        self.register_buffer("kernel", torch.outer(row, row).repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Blur and subsample."""
        padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(padded, self.kernel, stride=self.stride, groups=self.channels)
