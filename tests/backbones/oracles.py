"""The third-party models that ours are compared with, and toy twins of deep entries."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast
from unittest.mock import patch

import timm
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor

from resvision.backbones import Backbone, BackboneEntry, get_entry
from resvision.backbones.family import ResNetLayout


class Hostile:
    """What a pickle can do: call any function while it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("hostile",)


def toy(name: str) -> BackboneEntry:
    """Return an entry with every kind of block that it has, but few and narrow ones."""
    entry = get_entry(name)
    if not isinstance(entry.layout, ResNetLayout):
        return entry
    depths, channels = toy_sizes(entry.layout)
    return replace(entry, layout=replace(entry.layout, depths=depths, channels=channels))


def toy_sizes(layout: ResNetLayout) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return depths and widths of the toy; the stem keeps its width, as timm's cannot be changed."""
    stages = len(layout.depths)
    return (2, 1, 1, 1)[:stages], (layout.channels[0], 32, 64, 32)[:stages]


def reference_model(reference: str) -> nn.Module:
    """Build the model that an entry names, at full size and with its own first numbers."""
    library, _, name = reference.partition("/")
    if library == "timm":
        return timm.create_model(name)
    options = {"init_weights": False} if name == "googlenet" else {}  # it warns when it is not told
    model: nn.Module = get_model(name, weights=None, **options)
    return model


def timm_model(name: str, **options: Any) -> nn.Module:
    """Build timm's model."""
    return randomized(timm.create_model(name, **options))


def timm_toy(name: str, **options: Any) -> nn.Module:
    """Build timm's model as narrow and shallow as `toy` builds ours."""
    layout = get_entry(name).layout
    assert isinstance(layout, ResNetLayout)
    depths, channels = toy_sizes(layout)
    if name.startswith("resnetv2"):  # timm counts the channels of the output there
        channels = tuple(4 * width for width in channels)
    return timm_model(name, layers=depths, channels=channels, **options)


def torchvision_model(name: str) -> nn.Module:
    return randomized(reference_model(f"torchvision/{name}"))


def randomized(model: nn.Module) -> nn.Module:
    """Give every norm its own scale, shift and statistics, so that none can be left out unseen."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def timm_features(model: nn.Module, images: Tensor) -> list[Tensor]:
    # `norm` is the one that follows the last stage of a pre-activation network; others have none.
    features: list[Tensor] = cast("Any", model).forward_intermediates(images, norm=True, intermediates_only=True)
    return features


def torchvision_toy(name: str) -> nn.Module:
    """Build torchvision's model as shallow as `torchvision_twin` builds ours; it cannot be made narrower."""
    build = torchvision.models.resnet._resnet

    def shallow(block: type[nn.Module], _layers: list[int], *arguments: Any, **options: Any) -> nn.Module:
        model: nn.Module = build(block, [2, 1, 1, 1], *arguments, **options)
        return model

    with patch("torchvision.models.resnet._resnet", shallow):
        return torchvision_model(name)


def torchvision_twin(name: str) -> Backbone:
    """Build ours with as few blocks as `torchvision_toy`."""
    entry = get_entry(name)
    if isinstance(entry.layout, ResNetLayout):
        entry = replace(entry, layout=replace(entry.layout, depths=(2, 1, 1, 1)))
    return entry.build()


def torchvision_features(model: nn.Module, images: Tensor) -> list[Tensor]:
    nodes = {"relu": "stem"} | {f"layer{i}": f"stage{i}" for i in range(1, 5)}
    if type(model).__name__ == "GoogLeNet":
        last = ("conv1.relu", "conv3.relu", "inception3b.cat", "inception4e.cat", "inception5b.cat")
        nodes = {node: node for node in last}
    return list(create_feature_extractor(model, nodes, suppress_diff_warning=True)(images).values())


def assert_same_features(ours: Backbone, images: Tensor, expected: Sequence[Tensor], *, atol: float) -> None:
    """Compare every feature map; the tolerance is absolute, as parity is a matter of the same operations."""
    with torch.no_grad():
        features = ours(images)
    assert len(features) == len(expected)
    for feature, other in zip(features.values(), expected, strict=True):
        torch.testing.assert_close(feature, other, rtol=0, atol=atol)
