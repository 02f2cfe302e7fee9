"""Residual units that normalise and rectify before they convolve (He et al. 2016, arXiv:1603.05027, figure 4e)."""

from typing import ClassVar, final

from torch import Tensor, nn

from resvision.layers.drop_path import DropPath
from resvision.layers.norms import NormFactory
from resvision.layers.residual import conv3x3

__all__ = ["PreActBasicBlock", "PreActBottleneck"]


def _projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Build a strided 1x1 convolution of the activated input, named as in timm; it needs no norm of its own."""
    projection = nn.Sequential()
    projection.add_module("conv", nn.Conv2d(in_channels, out_channels, 1, stride, bias=False))
    return projection


def _rectifier(norm: nn.Module) -> nn.ReLU:
    """Build a rectifier that may overwrite what the norm gives; without a norm that is the block's own input."""
    return nn.ReLU(inplace=not isinstance(norm, nn.Identity))


@final
class PreActBasicBlock(nn.Module):
    """Two 3x3 convolutions: (N, in_channels, H, W) to (N, channels, H / stride, W / stride).

    Args:
        in_channels: Channels of the input.
        channels: Channels of both convolutions.
        stride: Stride of the first one.
        drop_path: Share of samples whose branch is dropped while training.
        norm: Builds a normalisation layer from a number of channels.
    """

    expansion: ClassVar[int] = 1

    def __init__(
        self, in_channels: int, channels: int, *, stride: int = 1, drop_path: float = 0.0, norm: NormFactory
    ) -> None:
        super().__init__()
        fits = stride == 1 and in_channels == channels
        self.downsample = None if fits else _projection(in_channels, channels, stride)
        self.norm1 = norm(in_channels)
        self.conv1 = conv3x3(in_channels, channels, stride=stride, dilation=1)
        self.norm2 = norm(channels)
        self.conv2 = conv3x3(channels, channels, stride=1, dilation=1)
        self.act = _rectifier(self.norm1)
        self.drop_path = DropPath(drop_path) if drop_path else None

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to the shortcut; nothing follows the sum."""
        activated = self.act(self.norm1(x))
        shortcut = x if self.downsample is None else self.downsample(activated)
        result: Tensor = self.conv2(self.act(self.norm2(self.conv1(activated))))
        if self.drop_path is not None:
            result = self.drop_path(result)
        return result + shortcut


@final
class PreActBottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions: (N, in_channels, H, W) to (N, 4 * channels, H / stride, W / stride).

    Args:
        in_channels: Channels of the input.
        channels: Width of the stage; the output has four times as many.
        stride: Stride of the 3x3 convolution, as in timm.
        dilation: Of the 3x3 convolution.
        drop_path: Share of samples whose branch is dropped while training.
        norm: Builds a normalisation layer from a number of channels.
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        drop_path: float = 0.0,
        norm: NormFactory,
    ) -> None:
        super().__init__()
        out_channels = self.expansion * channels
        fits = stride == 1 and in_channels == out_channels
        self.downsample = None if fits else _projection(in_channels, out_channels, stride)
        self.norm1 = norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.norm2 = norm(channels)
        self.conv2 = conv3x3(channels, channels, stride=stride, dilation=dilation)
        self.norm3 = norm(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.act = _rectifier(self.norm1)
        self.drop_path = DropPath(drop_path) if drop_path else None

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to the shortcut; nothing follows the sum."""
        activated = self.act(self.norm1(x))
        shortcut = x if self.downsample is None else self.downsample(activated)
        out = self.conv1(activated)
        out = self.conv2(self.act(self.norm2(out)))
        result: Tensor = self.conv3(self.act(self.norm3(out)))
        if self.drop_path is not None:
            result = self.drop_path(result)
        return result + shortcut
