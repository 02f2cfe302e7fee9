"""A decoder's map to one score per class and pixel."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from resvision.layers import enlarge

__all__ = ["SegmentationHead"]


@final
class SegmentationHead(nn.Module):
    """Score each pixel by a 1x1 convolution, then enlarge the scores to the picture's size.

    Enlarging the scores and not the features costs `num_classes / in_channels` as much and gives the same
    result, as both are linear.

    Args:
        in_channels: Channels of the decoder's map.
        num_classes: Scores per pixel.
        stride: Stride of the decoder's map.
    """

    def __init__(self, in_channels: int, num_classes: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(in_channels, num_classes, kernel_size=1)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Map (N, in_channels, h, w) to logits (N, num_classes, *size), in fp32 also under autocast."""
        scores = self.conv(x)
        # Interpolated in bf16, neighbouring scores tie, and the class of such a pixel would be chance.
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        return enlarge(scores, self.stride, size)
