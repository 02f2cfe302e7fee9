"""Enlarging a feature map so that it keeps its place in the picture."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["enlarge"]


def enlarge(x: Tensor, ratio: float, size: Sequence[int]) -> Tensor:
    """Enlarge a map bilinearly by exactly `ratio`, then cut it to a size; where it falls short, its edge goes on.

    A strided layer rounds an odd size up, so its last row reaches beyond the picture. Stretching that map to the size
    of the finer one moves everything in it, the more the coarser it is: at stride 32 and a height of 360, by half a
    cell, 16 pixels, at the bottom. Networks trained on crops without such remainders then answer worse on whole
    pictures.

    Args:
        x: Map (N, C, h, w).
        ratio: Stride of `x` over the stride of the result.
        size: Height and width of the result.

    Returns:
        Map (N, C, *size).
    """
    enlarged: Tensor
    if torch.are_deterministic_algorithms_enabled():
        # On a GPU only `interpolate` has a gradient that is; it takes a size or a ratio, not both.
        height, width = size
        enlarged = F.interpolate(x, scale_factor=ratio, mode="bilinear")[..., :height, :width]
        return F.pad(enlarged, (0, width - enlarged.shape[-1], 0, height - enlarged.shape[-2]), mode="replicate")
    # This operator takes both, and repeats the edge where x falls short; for one that is exported, of any size.
    enlarged = torch.ops.aten.upsample_bilinear2d(x, [*size], False, ratio, ratio)
    return enlarged
