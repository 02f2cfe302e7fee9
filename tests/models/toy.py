"""A backbone of two small layers, for tests that are about everything else."""

from torch import Tensor

from resvision.backbones import Backbone
from resvision.features import FeatureSpec
from resvision.layers import ConvNormAct


class ToyBackbone(Backbone):
    """Strides 2 and 4, 8 and 16 channels."""

    def __init__(self, *, in_channels: int = 3) -> None:
        super().__init__(in_channels)
        self.stem = ConvNormAct(in_channels, 8, stride=2)
        self.stage1 = ConvNormAct(8, 16, stride=2)
        self.feature_specs = {"stem": FeatureSpec(8, 2), "stage1": FeatureSpec(16, 4)}
        self.stage_parameters = {"stem": ("stem.",), "stage1": ("stage1.",)}
        self.input_convolutions = ("stem.conv",)

    def compute_features(self, images: Tensor) -> dict[str, Tensor]:
        stem = self.stem(images)
        return {"stem": stem, "stage1": self.stage1(stem)}
