"""The encoder of the deep residual U-Net."""

from collections.abc import Collection
from typing import final

from torch import Tensor, nn

from resvision.backbones.base import Backbone, check_features
from resvision.features import FeatureSpec
from resvision.layers.initialization import initialize_convolutions
from resvision.layers.norms import Norm, norm_factory
from resvision.layers.preactivation import PreActBasicBlock
from resvision.layers.residual import conv3x3

__all__ = ["ResUNetEncoder"]

# Zhang, Liu, Wang 2018, table 1: three encoding units and the bridge. Feature, channels, stride of the unit.
TABLE_1 = (("stem", 64, 1), ("stage1", 128, 2), ("stage2", 256, 2), ("stage3", 512, 2))


@final
class ResUNetEncoder(Backbone):
    """Pre-activation units at strides 1, 2 and 4 and the bridge at 8, without any pooling.

    Zhang, Liu, Wang 2018, "Road Extraction by Deep Residual U-Net", arXiv:1711.10684, table 1. The first unit begins
    with a convolution, as pixels need no activation. Where a unit changes the size, its shortcut is a strided 1x1
    convolution; the paper does not say what it is.

    Args:
        in_channels: Channels of the pictures.
        norm: Normalisation layers.
        out_features: Features to return; units that none of them needs are not built. All by default.

    Raises:
        ValueError: An option is outside its range.
    """

    def __init__(
        self, *, in_channels: int = 3, norm: Norm = "batch", out_features: Collection[str] | None = None
    ) -> None:
        super().__init__(in_channels)
        norms = norm_factory(norm)
        wanted = check_features(out_features, [name for name, _, _ in TABLE_1])
        (first, channels, stride), *units = TABLE_1
        self.conv1 = conv3x3(in_channels, channels, stride=1, dilation=1)
        self.bn1 = norms(channels)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(channels, channels, stride=1, dilation=1)
        self.shortcut = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.input_convolutions = ("conv1", "shortcut")
        specs = {first: FeatureSpec(channels, stride)}
        self.stage_parameters = {first: ("conv1.", "bn1.", "conv2.", "shortcut.")}
        self.stage_parameters |= {name: (f"{name}.",) for name, _, _ in units}
        for name, width, step in units:
            if wanted[-1] in specs:
                break
            self.add_module(name, PreActBasicBlock(channels, width, stride=step, norm=norms))
            channels, stride = width, stride * step
            specs[name] = FeatureSpec(channels, stride)
        self._units = tuple(specs)[1:]
        self.feature_specs = {name: specs[name] for name in wanted}
        initialize_convolutions(self)

    def compute_features(self, images: Tensor) -> dict[str, Tensor]:
        """Run the units, and keep the maps that are wanted."""
        x = self.conv2(self.act1(self.bn1(self.conv1(images)))) + self.shortcut(images)
        features = {"stem": x}
        for name in self._units:
            x = getattr(self, name)(x)
            features[name] = x
        return {name: features[name] for name in self.feature_specs}
