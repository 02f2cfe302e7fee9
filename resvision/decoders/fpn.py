"""A pyramid of equally wide maps, fine to coarse, for objects of all sizes."""

from collections.abc import Mapping, Sequence
from typing import final

from torch import Tensor, nn
from torch.nn import functional as F

from resvision.features import FeatureSpec, select
from resvision.layers import check_whole

__all__ = ["FeaturePyramid"]


@final
class FeaturePyramid(nn.Module):
    """Give the fine features what the coarse ones know (Lin et al. 2016, arXiv:1612.03144, section 3).

    Each feature is brought to one width by a 1x1 convolution, the next coarser level is enlarged and added, and a 3x3
    convolution smooths the sum. Levels that are coarser than every feature follow by strided convolutions, rectified
    before all but the first (P6 and P7 of Lin et al. 2017, arXiv:1708.02002, section 4).

    Args:
        specs: Features that the pyramid will be given.
        strides: Strides of the levels, fine to coarse, each twice the one before. The finest must be a feature's.
        channels: Channels of every level.

    Attributes:
        strides: As given.
        out_channels: Channels of every level.

    Raises:
        ValueError: The strides do not double, or there is no feature of the finest, or none of one in between; or
            `channels` is below 1.
    """

    def __init__(
        self, specs: Mapping[str, FeatureSpec], *, strides: Sequence[int] = (8, 16, 32, 64, 128), channels: int = 256
    ) -> None:
        super().__init__()
        check_whole("channels", channels, 1)
        if not strides or any(stride != strides[0] << level for level, stride in enumerate(strides)):
            raise ValueError(f"strides must be numbers that double, such as 8, 16, 32, got {list(strides)}")
        coarsest = max(spec.stride for spec in specs.values())
        inside = [stride for stride in strides if stride <= coarsest] or [strides[0]]
        self.feature_names = select(specs, inside)
        self.strides = tuple(strides)
        self.out_channels = channels
        self.laterals = nn.ModuleList(
            nn.Conv2d(specs[name].channels, channels, kernel_size=1) for name in self.feature_names
        )
        self.outputs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in self.feature_names)
        self.extras = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, stride=2, padding=1) for _ in strides[len(inside) :]
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                # Without a rectifier behind it, a gain of 1 keeps the variance, as in the papers' code.
                nn.init.kaiming_uniform_(layer.weight, a=1)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        """Map features (N, C_i, H / stride_i, W / stride_i) to levels (N, channels, H / stride, W / stride)."""
        given = [lateral(features[name]) for name, lateral in zip(self.feature_names, self.laterals, strict=True)]
        sums = [given[-1]]
        for finer in reversed(given[:-1]):
            sums.append(finer + F.interpolate(sums[-1], size=finer.shape[-2:], mode="nearest"))
        levels = [output(x) for output, x in zip(self.outputs, reversed(sums), strict=True)]
        for number, extra in enumerate(self.extras):
            levels.append(extra(levels[-1] if number == 0 else F.relu(levels[-1])))
        return levels
