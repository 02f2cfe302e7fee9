"""The pyramid equals torchvision's, and stands on whatever strides a backbone has."""

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelP6P7

from resvision.decoders import FeaturePyramid
from resvision.features import FeatureSpec

SPECS = {f"stage{level}": FeatureSpec(8 * level, 2 << level) for level in (1, 2, 3, 4)}


def _features(height: int, width: int) -> dict[str, torch.Tensor]:
    return {
        name: torch.randn(2, spec.channels, -(-height // spec.stride), -(-width // spec.stride))
        for name, spec in SPECS.items()
    }


@pytest.mark.parametrize("size", [(128, 256), (200, 136), (97, 65)])
def test_fpn__equals_torchvisions(size: tuple[int, int]) -> None:
    ours = FeaturePyramid(SPECS, channels=16)
    theirs = FeaturePyramidNetwork([16, 24, 32], 16, LastLevelP6P7(16, 16))
    state = {}
    for number in range(3):
        for kind, own in (("inner", "laterals"), ("layer", "outputs")):
            for part in ("weight", "bias"):
                state[f"{kind}_blocks.{number}.0.{part}"] = ours.get_parameter(f"{own}.{number}.{part}")
    for number, name in enumerate(("p6", "p7")):
        for part in ("weight", "bias"):
            state[f"extra_blocks.{name}.{part}"] = ours.get_parameter(f"extras.{number}.{part}")
    theirs.load_state_dict(state)
    features = _features(*size)
    expected = theirs(OrderedDict((name, features[name]) for name in ("stage2", "stage3", "stage4")))
    found = ours(features)
    assert len(found) == len(expected) == 5
    for level, reference in zip(found, expected.values(), strict=True):
        torch.testing.assert_close(level, reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("strides", [(4, 8), (4, 8, 16, 32), (32, 64), (8,)])
def test_fpn__has_the_strides_asked_for(strides: tuple[int, ...]) -> None:
    pyramid = FeaturePyramid(SPECS, strides=strides, channels=8)
    levels = pyramid(_features(96, 160))
    assert [tuple(level.shape) for level in levels] == [(2, 8, -(-96 // s), -(-160 // s)) for s in strides]
    sum(level.sum() for level in levels).backward()
    assert all(parameter.grad is not None for parameter in pyramid.parameters())


def test_fpn__takes_the_deepest_of_a_stride() -> None:
    specs = {**SPECS, "stage4": FeatureSpec(32, 16)}
    pyramid = FeaturePyramid(specs, strides=(8, 16, 32), channels=8)
    assert pyramid.feature_names == ("stage2", "stage4")
    assert len(pyramid.extras) == 1


@pytest.mark.parametrize(
    ("strides", "message"),
    [
        ([8, 32], "strides must be numbers that double"),
        ([], "strides must be numbers that double"),
        ([2, 4], r"no feature of stride \[2\]"),
        ([64, 128], r"no feature of stride \[64\]"),
    ],
)
def test_fpn__refuses_strides_that_cannot_be(strides: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeaturePyramid(SPECS, strides=strides)


@pytest.mark.parametrize("channels", [0, -1, 2.5])
def test_fpn__needs_a_channel(channels: Any) -> None:
    with pytest.raises(ValueError, match=rf"^channels must be a whole number of at least 1, got {channels}$"):
        FeaturePyramid(SPECS, channels=channels)
