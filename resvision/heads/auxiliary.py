"""A classifier that looks at the middle of a network, to bring the gradient there while training."""

from functools import partial
from typing import final

import torch.nn.functional as F
from torch import Tensor, nn

from resvision.layers import ConvNormAct

__all__ = ["AUXILIARY_WEIGHT", "AuxiliaryHead"]

AUXILIARY_WEIGHT = 0.3
"""Share of an auxiliary classifier's loss in the total (Szegedy et al. 2015, section 5)."""


@final
class AuxiliaryHead(nn.Module):
    """Classify an intermediate map; for training only (Szegedy et al. 2015, arXiv:1409.4842, section 5).

    GoogLeNet has one on each of `resvision.backbones.googlenet.AUXILIARY_FEATURES`. The map is pooled to 4x4
    whatever its size, as in torchvision, whose weights load; the paper pools 5x5 windows of a 14x14 map, which is
    the same size.

    Args:
        in_channels: Channels of the map.
        num_classes: Scores per picture.
        dropout: Share of the 1024 hidden units dropped while training.
    """

    def __init__(self, in_channels: int, num_classes: int, *, dropout: float = 0.7) -> None:
        super().__init__()
        self.conv = ConvNormAct(in_channels, 128, kernel_size=1, norm=partial(nn.BatchNorm2d, eps=1e-3))
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to logits (N, num_classes)."""
        x = self.conv(F.adaptive_avg_pool2d(x, 4)).flatten(1)
        logits: Tensor = self.fc2(self.dropout(F.relu(self.fc1(x))))
        return logits
