"""Channel attention at the end of a residual branch."""

import math
from typing import final

from torch import Tensor, nn

__all__ = ["EfficientChannelAttention", "SqueezeExcitation"]


@final
class SqueezeExcitation(nn.Module):
    """Reweight channels by what the whole map holds; (N, C, H, W) to the same shape.

    Hu et al. 2018, arXiv:1709.01507.

    Args:
        channels: C.
        reduction: The squeezed vector has C / reduction channels, rounded to a multiple of 8, as in timm.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        squeezed = max(8, int(channels / reduction + 4) // 8 * 8)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.act = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel by its gate in 0..1."""
        gate: Tensor = self.fc2(self.act(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * gate.sigmoid()


@final
class EfficientChannelAttention(nn.Module):
    """Reweight channels by a short 1-d convolution over their means; (N, C, H, W) to the same shape.

    Wang et al. 2020, arXiv:1910.03151. The kernel grows with the logarithm of C (equation 12).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = int(abs(math.log2(channels) + 1) / 2)
        kernel_size = max(width if width % 2 else width + 1, 3)
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel by its gate in 0..1."""
        gate: Tensor = self.conv(x.mean((2, 3)).unsqueeze(1))
        return x * gate.sigmoid().transpose(1, 2).unsqueeze(-1)
