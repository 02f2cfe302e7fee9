"""Say how large a backbone is, without allocating it."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from resvision.backbones.entry import BackboneEntry
from resvision.layers.choices import check_whole

__all__ = ["BackboneDescription", "FeatureDescription", "describe"]


@dataclass(frozen=True)
class FeatureDescription:
    """One feature, and what it takes to compute it from the one before.

    Args:
        name: Key in the dict of features.
        channels: C of the map.
        stride: Pixels of the picture per pixel of the map, along each side.
        side: Side of the map for a square picture.
        parameters: How many that takes; None where the network does not say which parameters are whose.
    """

    name: str
    channels: int
    stride: int
    side: int
    parameters: int | None


@dataclass(frozen=True)
class BackboneDescription:
    """A backbone in numbers.

    Args:
        features: Fine to coarse.
        parameters: Of the whole backbone; it has no classifier.
        gmacs: Multiplications with addition in convolutions and linear layers for one picture, in billions.
    """

    features: tuple[FeatureDescription, ...]
    parameters: int
    gmacs: float


def describe(entry: BackboneEntry, *, size: int = 224) -> BackboneDescription:
    """Build a backbone on the meta device and measure it on one square picture.

    Args:
        entry: The backbone, built with its default options.
        size: Side of the picture, in pixels.

    Raises:
        ValueError: The size is no whole number, or less than the network's stride.
    """
    with torch.device("meta"):
        backbone = entry.build().eval()
        check_whole("size", size, max(spec.stride for spec in backbone.feature_specs.values()))
        images = torch.empty(1, backbone.in_channels, size, size)
    macs: list[int] = []
    for module in backbone.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            module.register_forward_hook(_counter(macs))
    with torch.no_grad():
        maps = backbone(images)
    sizes = {name: parameter.numel() for name, parameter in backbone.named_parameters()}
    needed: dict[str, tuple[str, ...]] = {}
    before: tuple[str, ...] = ()
    for stage, prefixes in backbone.stage_parameters.items():
        before += prefixes
        if stage in maps:  # a stage between two features counts with the second
            needed[stage], before = before, ()
    told = all(backbone.stage_parameters.values())  # timm does not tell
    features = tuple(
        FeatureDescription(
            name=name,
            channels=spec.channels,
            stride=spec.stride,
            side=maps[name].shape[-1],
            parameters=sum(n for key, n in sizes.items() if key.startswith(needed[name])) if told else None,
        )
        for name, spec in backbone.feature_specs.items()
    )
    return BackboneDescription(features, sum(sizes.values()), sum(macs) / 1e9)


def _counter(macs: list[int]) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def count(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = module.get_parameter("weight")
        macs.append(output.numel() * prod(weight.shape[1:]))

    return count
