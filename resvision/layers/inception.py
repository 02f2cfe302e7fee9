"""The Inception modules of GoogLeNet (Szegedy et al. 2015, arXiv:1409.4842, figure 2)."""

from functools import partial
from typing import final

import torch
from torch import Tensor, nn

from resvision.layers.conv_norm_act import ConvNormAct

__all__ = ["Inception", "PlainInception", "inception_convolution"]

# The norm that torchvision gives to a network that was published before batch norm; eps as in TensorFlow.
inception_convolution = partial(ConvNormAct, norm=partial(nn.BatchNorm2d, eps=1e-3))


@final
class PlainInception(nn.Module):
    """The naive module: 1x1, 3x3 and 5x5 convolutions and a 3x3 pool side by side (figure 2a).

    Takes (N, in_channels, H, W) to (N, sum(widths) + in_channels, H, W): it can only grow, and the 5x5 sees all
    channels, which is what dimension reduction mends.

    Args:
        in_channels: Channels of the input.
        widths: Channels of the 1x1, the 3x3 and the 5x5 convolution.
    """

    def __init__(self, in_channels: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.branch1 = inception_convolution(in_channels, widths[0], kernel_size=1)
        self.branch2 = inception_convolution(in_channels, widths[1], kernel_size=3)
        self.branch3 = inception_convolution(in_channels, widths[2], kernel_size=5)
        self.branch4 = nn.MaxPool2d(3, stride=1, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Join the four branches along the channels."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


@final
class Inception(nn.Module):
    """The module with dimension reduction: a 1x1 convolution before each large one, and after the pool (figure 2b).

    Takes (N, in_channels, H, W) to (N, width1 + width3 + width5 + pooled, H, W).

    Args:
        in_channels: Channels of the input.
        width1: Channels of the 1x1 convolution.
        reduced3: Channels before the 3x3 convolution.
        width3: Channels of the 3x3 convolution.
        reduced5: Channels before the 5x5 convolution.
        width5: Channels of the 5x5 convolution.
        pooled: Channels after the pool.
        large: Side of the largest kernel: 5 in the paper; torchvision's weights have 3.
    """

    def __init__(
        self,
        in_channels: int,
        width1: int,
        reduced3: int,
        width3: int,
        reduced5: int,
        width5: int,
        pooled: int,
        *,
        large: int = 5,
    ) -> None:
        super().__init__()
        self.branch1 = inception_convolution(in_channels, width1, kernel_size=1)
        self.branch2 = nn.Sequential(
            inception_convolution(in_channels, reduced3, kernel_size=1),
            inception_convolution(reduced3, width3, kernel_size=3),
        )
        self.branch3 = nn.Sequential(
            inception_convolution(in_channels, reduced5, kernel_size=1),
            inception_convolution(reduced5, width5, kernel_size=large),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), inception_convolution(in_channels, pooled, kernel_size=1)
        )
        self.out_channels = width1 + width3 + width5 + pooled

    def forward(self, x: Tensor) -> Tensor:
        """Join the four branches along the channels."""
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)
