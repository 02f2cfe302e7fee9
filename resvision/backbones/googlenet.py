"""GoogLeNet: nine Inception modules, without the fully connected head."""

from collections.abc import Collection
from typing import final

from torch import Tensor, nn

from resvision.backbones.base import Backbone, check_features
from resvision.features import FeatureSpec
from resvision.layers.inception import Inception, inception_convolution
from resvision.layers.initialization import initialize_convolutions

__all__ = ["AUXILIARY_FEATURES", "GoogLeNet"]

# Szegedy et al. 2015, table 1. Columns: the 1x1, reduction and 3x3, reduction and 5x5, pool projection.
TABLE_1 = {
    "inception3a": (64, 96, 128, 16, 32, 32),
    "inception3b": (128, 128, 192, 32, 96, 64),
    "inception4a": (192, 96, 208, 16, 48, 64),
    "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64),
    "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128),
    "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}

# What each feature adds to the one before it, in the order of the forward pass.
STEPS = {
    "stem": ("conv1",),
    "stage1": ("maxpool1", "conv2", "conv3"),
    "stage2": ("maxpool2", "inception3a", "inception3b"),
    "inception4a": ("maxpool3", "inception4a"),
    "inception4d": ("inception4b", "inception4c", "inception4d"),
    "stage3": ("inception4e",),
    "stage4": ("maxpool4", "inception5a", "inception5b"),
}

AUXILIARY_FEATURES = ("inception4a", "inception4d")
"""Where the paper's two auxiliary classifiers look; computed when `out_features` names them."""


@final
class GoogLeNet(Backbone):
    """GoogLeNet with batch norm, as in torchvision (Szegedy et al. 2015, arXiv:1409.4842).

    As in torchvision, whose weights load, the largest kernel of a module is 3x3, where the paper has 5x5. The pools
    have no padding, so a map of an odd side is rounded down where other networks round up.

    Args:
        in_channels: Channels of the pictures.
        out_features: Features to return; modules that none of them needs are not built. By default the last map of
            each stride; `AUXILIARY_FEATURES` can be asked for besides, for classifiers that help in training.

    Raises:
        ValueError: An option is outside its range.
    """

    def __init__(self, *, in_channels: int = 3, out_features: Collection[str] | None = None) -> None:
        super().__init__(in_channels)
        if out_features is None:
            out_features = [name for name in STEPS if name not in AUXILIARY_FEATURES]
        wanted = check_features(out_features, STEPS)
        specs: dict[str, FeatureSpec] = {}
        channels, stride = in_channels, 1
        for feature, modules in STEPS.items():
            if wanted[-1] in specs:
                break
            for name in modules:
                module, channels, step = _build(name, channels)
                self.add_module(name, module)
                stride *= step
            specs[feature] = FeatureSpec(channels, stride)
        self._steps = tuple((feature, STEPS[feature]) for feature in specs)
        self.feature_specs = {name: specs[name] for name in wanted}
        self.stage_parameters = {feature: tuple(f"{name}." for name in modules) for feature, modules in STEPS.items()}
        self.input_convolutions = ("conv1.conv",)
        initialize_convolutions(self)

    def compute_features(self, images: Tensor) -> dict[str, Tensor]:
        """Run the modules in order, and keep the maps that are wanted."""
        features = {}
        x = images
        for feature, modules in self._steps:
            for name in modules:
                x = getattr(self, name)(x)
            if feature in self.feature_specs:
                features[feature] = x
        return features


def _build(name: str, in_channels: int) -> tuple[nn.Module, int, int]:
    """Return a module, the channels of its output, and its stride."""
    if name in TABLE_1:
        module = Inception(in_channels, *TABLE_1[name], large=3)
        return module, module.out_channels, 1
    if name.startswith("maxpool"):
        # The last pool has 2x2 windows in torchvision; on even sides that keeps what the paper's 3x3 keeps.
        return nn.MaxPool2d(2 if name == "maxpool4" else 3, stride=2, ceil_mode=True), in_channels, 2
    out_channels, kernel_size, stride = {"conv1": (64, 7, 2), "conv2": (64, 1, 1), "conv3": (192, 3, 1)}[name]
    module_ = inception_convolution(in_channels, out_channels, kernel_size=kernel_size, stride=stride)
    return module_, out_channels, stride
