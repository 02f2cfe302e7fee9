"""The residual blocks of He et al. 2015, figure 5, and the plain block that they are measured against.

All take (N, in_channels, H, W) to (N, expansion * channels, H / stride, W / stride). Module names are
those of torchvision and timm.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor, nn

from resvision.layers.activations import ActivationFactory, rectifier
from resvision.layers.blur import BlurPool2d
from resvision.layers.drop_path import DropPath
from resvision.layers.norms import NormFactory

__all__ = ["BasicBlock", "BlockStyle", "Bottleneck", "PlainBlock"]


@dataclass(frozen=True)
class BlockStyle:
    """What all blocks of one network share.

    Args:
        norm: Builds a normalisation layer from a number of channels.
        groups: Groups of the bottleneck's 3x3 convolution (ResNeXt's cardinality).
        width_per_group: Width of the bottleneck's 3x3 convolution, per group and per 64 channels of the
            stage.
        attention: Builds the channel attention at the end of the branch from a number of channels.
        antialias: Let the strided convolution run at stride 1 and subsample by a blur.
        activation: Builds the activations, in the branch and after the sum.
    """

    norm: NormFactory = nn.BatchNorm2d
    groups: int = 1
    width_per_group: int = 64
    attention: Callable[[int], nn.Module] | None = None
    antialias: bool = False
    activation: ActivationFactory = rectifier

    def subsampling(self, channels: int, stride: int, dilation: tuple[int, int]) -> BlurPool2d | None:
        """Return the blur that takes over the stride of a block's 3x3 convolution, if there is one.

        A block in which dilation has replaced the stride is blurred too, as in timm.
        """
        blurs = self.antialias and (stride > 1 or dilation[0] != dilation[1])
        return BlurPool2d(channels, stride=stride) if blurs else None


def conv3x3(in_channels: int, out_channels: int, *, stride: int, dilation: int, groups: int = 1) -> nn.Conv2d:
    """Build a 3x3 convolution, padded to keep the size at stride 1, without a bias as a norm follows."""
    return nn.Conv2d(
        in_channels, out_channels, 3, stride, padding=dilation, dilation=dilation, groups=groups, bias=False
    )


@final
class BasicBlock(nn.Module):
    """Two 3x3 convolutions (figure 5, left).

    Args:
        in_channels: Channels of the input.
        channels: Channels of both convolutions.
        stride: Stride of the first one.
        dilation: Of the first convolution and of the second.
        shortcut: Brings the input to the output's size; None is the identity.
        drop_path: Share of samples whose branch is dropped while training.
        style: What all blocks of the network share.
    """

    expansion: ClassVar[int] = 1

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        stride: int = 1,
        dilation: tuple[int, int] = (1, 1),
        shortcut: nn.Module | None = None,
        drop_path: float = 0.0,
        style: BlockStyle,
    ) -> None:
        super().__init__()
        blur = style.subsampling(channels, stride, dilation)
        self.conv1 = conv3x3(in_channels, channels, stride=1 if blur else stride, dilation=dilation[0])
        self.bn1 = style.norm(channels)
        self.act1 = style.activation()
        self.aa = blur
        self.conv2 = conv3x3(channels, channels, stride=1, dilation=dilation[1])
        self.bn2 = style.norm(channels)
        self.se = style.attention(channels) if style.attention else None
        self.drop_path = DropPath(drop_path) if drop_path else None
        self.downsample = shortcut
        self.act2 = style.activation()

    @property
    def last_norm(self) -> nn.Module:
        """The norm whose weight, set to zero, makes the block begin as its shortcut."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to the shortcut."""
        out = self.act1(self.bn1(self.conv1(x)))
        if self.aa is not None:
            out = self.aa(out)
        out = self.bn2(self.conv2(out))
        if self.se is not None:
            out = self.se(out)
        if self.drop_path is not None:
            out = self.drop_path(out)
        if self.downsample is not None:
            x = self.downsample(x)
        out += x
        result: Tensor = self.act2(out)
        return result


@final
class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the first reducing and the last restoring the width (figure 5, right).

    The stride is on the 3x3 convolution as in torchvision and timm ("ResNet v1.5"); the paper has it on
    the first 1x1, which skips three quarters of its input.

    Args:
        in_channels: Channels of the input.
        channels: Width of the stage; the output has four times as many.
        stride: Stride of the 3x3 convolution.
        dilation: Of the 3x3 convolution in this block and in the following ones.
        shortcut: Brings the input to the output's size; None is the identity.
        drop_path: Share of samples whose branch is dropped while training.
        style: What all blocks of the network share.
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        stride: int = 1,
        dilation: tuple[int, int] = (1, 1),
        shortcut: nn.Module | None = None,
        drop_path: float = 0.0,
        style: BlockStyle,
    ) -> None:
        super().__init__()
        width = channels * style.width_per_group // 64 * style.groups
        out_channels = self.expansion * channels
        blur = style.subsampling(width, stride, dilation)
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = style.norm(width)
        self.act1 = style.activation()
        self.conv2 = conv3x3(width, width, stride=1 if blur else stride, dilation=dilation[0], groups=style.groups)
        self.bn2 = style.norm(width)
        self.act2 = style.activation()
        self.aa = blur
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = style.norm(out_channels)
        self.se = style.attention(out_channels) if style.attention else None
        self.drop_path = DropPath(drop_path) if drop_path else None
        self.downsample = shortcut
        self.act3 = style.activation()

    @property
    def last_norm(self) -> nn.Module:
        """The norm whose weight, set to zero, makes the block begin as its shortcut."""
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to the shortcut."""
        out = self.act1(self.bn1(self.conv1(x)))
        out = self.act2(self.bn2(self.conv2(out)))
        if self.aa is not None:
            out = self.aa(out)
        out = self.bn3(self.conv3(out))
        if self.se is not None:
            out = self.se(out)
        if self.drop_path is not None:
            out = self.drop_path(out)
        if self.downsample is not None:
            x = self.downsample(x)
        out += x
        result: Tensor = self.act3(out)
        return result


@final
class PlainBlock(nn.Module):
    """The basic block without its shortcut: what the paper shows to degrade with depth (figures 1 and 6).

    Args:
        in_channels: Channels of the input.
        channels: Channels of both convolutions.
        stride: Stride of the first one.
        dilation: Of the first convolution and of the second.
        norm: Builds a normalisation layer from a number of channels.
        activation: Builds the activation after each convolution.
    """

    expansion: ClassVar[int] = 1

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        stride: int = 1,
        dilation: tuple[int, int] = (1, 1),
        norm: NormFactory = nn.BatchNorm2d,
        activation: ActivationFactory = rectifier,
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels, stride=stride, dilation=dilation[0])
        self.bn1 = norm(channels)
        self.act1 = activation()
        self.conv2 = conv3x3(channels, channels, stride=1, dilation=dilation[1])
        self.bn2 = norm(channels)
        self.act2 = activation()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the two convolutions, each with its norm and activation."""
        out = self.act1(self.bn1(self.conv1(x)))
        result: Tensor = self.act2(self.bn2(self.conv2(out)))
        return result
