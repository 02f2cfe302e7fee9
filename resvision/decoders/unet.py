"""The expanding path of a U-Net, of residual blocks."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn

from resvision.features import FeatureSpec, select
from resvision.layers import (
    BasicBlock,
    BlockStyle,
    NormFactory,
    enlarge,
    initialize_convolutions,
    projection_shortcut,
)

__all__ = ["UNetDecoder"]


@final
class UNetDecoder(nn.Module):
    """Bring the coarsest feature back to the size of the finest, taking up every stride's feature on the way.

    One step per stride, as in U-Net (Ronneberger et al. 2015, arXiv:1505.04597, figure 1): enlarge by the ratio of
    the strides and cut to the skip's own size, which for an odd one is not twice the last; concatenate; mix by a
    residual block. Of features that share a stride, as in a dilated network, the deepest is used.

    Args:
        specs: Features that the decoder will be given, at two strides or more.
        end_stride: Stride of the feature to end at; by default that of the finest.
        widths: Channels after each step, coarse to fine, one per step. By default 256, then half of the step before,
            but no fewer than 32.
        norm: Builds a normalisation layer from a number of channels.

    Attributes:
        out_channels: Channels of the result.
        stride: Stride of the result.

    Raises:
        ValueError: There is but one stride, none of `end_stride`, or another number of widths than of steps.
    """

    def __init__(
        self,
        specs: Mapping[str, FeatureSpec],
        *,
        end_stride: int | None = None,
        widths: Sequence[int] | None = None,
        norm: NormFactory = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        strides = sorted({spec.stride for spec in specs.values()}, reverse=True)
        if len(strides) < 2:
            raise ValueError(f"a U-Net needs features at two strides or more, got strides {strides}")
        if end_stride is not None:
            if end_stride not in strides[1:]:
                raise ValueError(f"the decoder can end at stride {_listed(strides[1:])}, not at {end_stride}")
            strides = strides[: strides.index(end_stride) + 1]
        steps = len(strides) - 1
        if widths is None:
            widths = [max(256 >> step, 32) for step in range(steps)]
        if len(widths) != steps:
            raise ValueError(
                f"widths must hold {steps} numbers, one per step from stride {strides[0]} to {strides[-1]}, "
                f"got {list(widths)}"
            )
        self.feature_names = select(specs, strides)
        self.blocks = nn.ModuleList()
        channels = specs[self.feature_names[0]].channels
        for name, width in zip(self.feature_names[1:], widths, strict=True):
            joined = channels + specs[name].channels
            shortcut = projection_shortcut(joined, width, stride=1, norm=norm)
            self.blocks.append(BasicBlock(joined, width, shortcut=shortcut, style=BlockStyle(norm=norm)))
            channels = width
        self.out_channels = channels
        self.stride = strides[-1]
        self.ratios = [coarse / fine for coarse, fine in pairwise(strides)]
        initialize_convolutions(self)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Map features (N, C_i, H / stride_i, W / stride_i) to (N, out_channels, H / stride, W / stride)."""
        coarsest, *skips = (features[name] for name in self.feature_names)
        x = coarsest
        for skip, block, ratio in zip(skips, self.blocks, self.ratios, strict=True):
            x = enlarge(x, ratio, skip.shape[-2:])
            x = block(torch.cat([x, skip], dim=1))
        return x


def _listed(numbers: Sequence[int]) -> str:
    return " or ".join(map(str, numbers))
