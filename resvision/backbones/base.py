"""The contract between a backbone and everything that uses one."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from resvision.features import FeatureSpec
from resvision.layers.choices import check_whole
from resvision.layers.normalize import IMAGENET, InputStatistics

__all__ = ["Backbone", "check_features", "check_images"]


class Backbone(nn.Module, ABC):
    """A network that turns normalised pictures into a pyramid of feature maps.

    It has no head, no pooling and no classes, and never returns its input as a feature. Parameters are
    named as in the network's reference (torchvision or timm), so that weights move both ways without a table.

    Attributes:
        feature_specs: Channels and stride of each feature, fine to coarse, from the blocks as they were
            built: `{"stem": FeatureSpec(64, 2), "stage1": FeatureSpec(256, 4), ...}`.
        stage_parameters: Which parameters make up each stage, as prefixes of their names, fine to coarse;
            stages that were not built, because no feature needs them, are listed too.
        input_convolutions: Names of the convolutions that see the picture, whose pretrained weights can be adapted to
            other channels; the first one begins the network.
        input_statistics: Of the pictures that the loaded weights were trained on; a model normalises with
            them.
    """

    feature_specs: Mapping[str, FeatureSpec]
    stage_parameters: dict[str, tuple[str, ...]]
    input_convolutions: tuple[str, ...] = ()
    input_statistics: InputStatistics

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        check_whole("in_channels", in_channels, 1)
        self.in_channels = in_channels
        self.input_statistics = IMAGENET.for_channels(in_channels)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Map (N, in_channels, H, W), normalised, to the features.

        Returns:
            One (N, C, H / stride, W / stride), odd sides rounded up, for each of `feature_specs`, in their
            order.

        Raises:
            ValueError: The pictures have other channels, or are smaller than the network's stride.
        """
        check_images(images, self.in_channels, max(spec.stride for spec in self.feature_specs.values()))
        return self.compute_features(images)

    def reference_names(self) -> dict[str, str | None]:
        """Return what each tensor of the reference is called here, by its name there; None for one that is not here.

        The two are the same, but for networks that wrap another library's.
        """
        return {name: name for name in self.state_dict()}

    @abstractmethod
    def compute_features(self, images: Tensor) -> dict[str, Tensor]:
        """Do what `forward` says; the pictures have been checked."""


def check_features(wanted: Collection[str] | None, known: Collection[str]) -> tuple[str, ...]:
    """Return the features to compute, fine to coarse: those wanted, or all that are known.

    Raises:
        ValueError: A name is not known, or none is wanted.
    """
    if wanted is None:
        return tuple(known)
    # A single name is a collection too, of letters.
    if isinstance(wanted, str) or not wanted or not set(wanted) <= set(known):
        raise ValueError(f"out_features must be a list of some of {', '.join(known)}, got {wanted!r}")
    return tuple(name for name in known if name in wanted)


# A leaf for `torch.fx`, whose proxies cannot be compared with numbers.
@torch.fx.wrap
def check_images(images: Tensor, in_channels: int, stride: int) -> None:
    """Raise a ValueError unless the pictures have the right channels and are no smaller than the stride."""
    if images.ndim != 4:
        raise ValueError(f"pictures must come as a batch (N, C, H, W), got shape {tuple(images.shape)}")
    if images.shape[1] != in_channels:
        raise ValueError(f"this backbone was built for {in_channels} channels, got pictures of {images.shape[1]}")
    if images.shape[2] < stride or images.shape[3] < stride:
        raise ValueError(
            f"pictures must be at least {stride} pixels high and wide, the network's stride, "
            f"got {images.shape[2]}x{images.shape[3]}"
        )
