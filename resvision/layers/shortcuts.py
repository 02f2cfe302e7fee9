"""What a residual block adds to its branch when the two differ in size (He et al. 2015, section 3.3)."""

from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from resvision.layers.norms import NormFactory

__all__ = ["ZeroPadShortcut", "average_shortcut", "projection_shortcut"]


def projection_shortcut(in_channels: int, out_channels: int, *, stride: int, norm: NormFactory) -> nn.Sequential:
    """Build option B: a 1x1 convolution, strided, and a norm."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), norm(out_channels))


def average_shortcut(
    in_channels: int, out_channels: int, *, stride: int, dilated: bool, norm: NormFactory
) -> nn.Sequential:
    """Build the D variant's shortcut: average first, so that the 1x1 convolution sees every pixel.

    He et al. 2019, arXiv:1812.01187, figure 2c. Where dilation has replaced the stride, timm still
    averages 2x2 windows at stride 1, padded at the end; so does this, for its weights to mean the same.
    """
    if stride > 1:
        pool: nn.Module = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)
    elif dilated:
        pool = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.AvgPool2d(2, 1))
    else:
        pool = nn.Identity()
    return nn.Sequential(pool, nn.Conv2d(in_channels, out_channels, 1, bias=False), norm(out_channels))


@final
class ZeroPadShortcut(nn.Module):
    """Option A, free of parameters: subsample, and pad the new channels with zeros, half on either side.

    Takes (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Every how many pixels one is kept.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        before = (out_channels - in_channels) // 2
        self.padding = (0, 0, 0, 0, before, out_channels - in_channels - before)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Subsample and pad."""
        # Averages of one pixel each: unlike a slice with steps, this keeps the memory format.
        return F.pad(F.avg_pool2d(x, 1, self.stride), self.padding)
