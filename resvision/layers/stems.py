"""The first layers of a ResNet: what turns pixels into the first feature map."""

from typing import Literal, get_args

from torch import nn

from resvision.layers.activations import ActivationFactory, rectifier
from resvision.layers.blur import BlurPool2d
from resvision.layers.choices import check_choice
from resvision.layers.norms import NormFactory

__all__ = ["Stem", "StemPool", "stem_convolution", "stem_pool", "stem_stride"]

Stem = Literal["imagenet", "cifar", "deep", "tiered"]
StemPool = Literal["max", "convolution", "none"]


def stem_stride(stem: Stem) -> int:
    """Return the stride of the stem before its pool; a `cifar` stem keeps the picture's size and has no pool.

    Raises:
        ValueError: `stem` is none of the four.
    """
    check_choice("stem", stem, get_args(Stem))
    return 1 if stem == "cifar" else 2


def stem_convolution(
    stem: Stem, in_channels: int, channels: int, *, norm: NormFactory, activation: ActivationFactory = rectifier
) -> nn.Module:
    """Build the convolutions before the stem's last norm: (N, in_channels, H, W) to (N, channels, H', W').

    Args:
        stem: `imagenet`, one 7x7 at stride 2 (He et al. 2015, table 1); `cifar`, one 3x3 at stride 1
            (section 4.2); `deep`, three 3x3 of half, half and full width (He et al. 2019, figure 2b); or
            `tiered`, three 3x3 that grow by 3/8, 1/2 and full width (timm's "t" models).
        in_channels: Channels of the picture.
        channels: Width of the stem.
        norm: Builds the norms between the three convolutions.
        activation: Builds what follows those norms.
    """
    if stem == "imagenet":
        return nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False)
    if stem == "cifar":
        return nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
    first = 3 * (channels // 8) if stem == "tiered" else channels // 2
    return nn.Sequential(
        nn.Conv2d(in_channels, first, 3, stride=2, padding=1, bias=False),
        norm(first),
        activation(),
        nn.Conv2d(first, channels // 2, 3, padding=1, bias=False),
        norm(channels // 2),
        activation(),
        nn.Conv2d(channels // 2, channels, 3, padding=1, bias=False),
    )


def stem_pool(
    pool: StemPool, channels: int, *, norm: NormFactory, antialias: bool, activation: ActivationFactory = rectifier
) -> nn.Module:
    """Build what halves the stem's map: (N, channels, H, W) to (N, channels, H / 2, W / 2).

    Args:
        pool: `max`, 3x3 (He et al. 2015, table 1); `convolution`, a strided 3x3 with norm and rectifier
            (Bello et al. 2021, arXiv:2103.07579); or `none`, which keeps the size.
        channels: Width of the stem.
        norm: Builds the norm of the convolution.
        antialias: Take the maximum at stride 1 and subsample by a blur.
        activation: Builds what follows the norm of the convolution.
    """
    if pool == "none":
        return nn.Identity()
    if pool == "convolution":
        return nn.Sequential(
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
            norm(channels),
            activation(),
        )
    if antialias:
        return nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), BlurPool2d(channels))
    return nn.MaxPool2d(3, stride=2, padding=1)
