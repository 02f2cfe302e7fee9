"""Levels of a pyramid to classes and boxes, in every place of every level."""

import math
from collections.abc import Sequence
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["DetectionHead"]

#: Probability of each class in each place to begin with, so that the many empty places do not drown the others in the
#: first steps (Lin et al. 2017, arXiv:1708.02002, section 3.3).
_PRIOR: Final = 0.01
#: Distance of each side to begin with, in strides: half the side of the square that ATSS takes for a place's box.
_REACH: Final = 4.0


@final
class DetectionHead(nn.Module):
    """Say in every place which classes are there, and how far the sides of the object's box lie (FCOS).

    Tian et al. 2019, arXiv:1904.01355, section 3: two branches of 3x3 convolutions with group norm that all levels
    share, a learned scale for the distances of each level, and the centerness, from the branch of the boxes.

    Args:
        in_channels: Channels of every level.
        num_classes: Scores in a place.
        num_levels: Levels of the pyramid.
        depth: Convolutions of a branch before the last.
        centerness: Whether there is a score for how central a place lies in its object.
    """

    def __init__(
        self, in_channels: int, num_classes: int, *, num_levels: int, depth: int = 4, centerness: bool = True
    ) -> None:
        super().__init__()
        self.class_branch = _branch(in_channels, depth)
        self.box_branch = _branch(in_channels, depth)
        self.classes = nn.Conv2d(in_channels, num_classes, 3, padding=1)
        self.distances = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.centerness = nn.Conv2d(in_channels, 1, 3, padding=1) if centerness else None
        self.scales = nn.Parameter(torch.ones(num_levels))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        assert self.classes.bias is not None
        assert self.distances.bias is not None
        nn.init.constant_(self.classes.bias, -math.log((1 - _PRIOR) / _PRIOR))
        nn.init.constant_(self.distances.bias, _REACH)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Map levels (N, in_channels, h, w) to what is said in their A places, level by level and row by row.

        Returns:
            Logits of the classes (N, A, num_classes), distances of the left, upper, right and lower side in strides of
            their level (N, A, 4), 0 or more, and logits of the centerness (N, A), if there is one; all in fp32.
        """
        logits, distances, centerness = [], [], []
        for level, scale in zip(levels, self.scales, strict=True):
            logits.append(_places(self.classes(self.class_branch(level))))
            branch = self.box_branch(level)
            distances.append(F.relu(_places(self.distances(branch)) * scale))
            if self.centerness is not None:
                centerness.append(_places(self.centerness(branch)).squeeze(2))
        return (
            torch.cat(logits, dim=1),
            torch.cat(distances, dim=1),
            torch.cat(centerness, dim=1) if centerness else None,
        )


def _branch(channels: int, depth: int) -> nn.Sequential:
    # 32 groups of 256 channels, as usual; narrow heads have fewer, or else a group would be a single channel.
    groups = math.gcd(32, max(channels // 8, 1), channels)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(groups, channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _places(x: Tensor) -> Tensor:
    """Return (N, C, h, w) as (N, h * w, C), in fp32: in bf16 a side 100 pixels away moves by half a pixel."""
    return x.permute(0, 2, 3, 1).flatten(1, 2).to(torch.promote_types(x.dtype, torch.float32))
