from typing import Any

import pytest

from resvision import create_backbone


def test_create_backbone__a_mistyped_option_suggests_the_nearest() -> None:
    options: dict[str, Any] = {"in_chanels": 1}
    words = "resnet18 has no option 'in_chanels'; did you mean 'in_channels'. its options are in_channels, output"
    with pytest.raises(ValueError, match=words):
        create_backbone("resnet18", **options)


def test_create_backbone__an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown backbone 'resnt18'; did you mean resnet18"):
        create_backbone("resnt18")


def test_create_backbone__options_reach_the_network() -> None:
    backbone = create_backbone("resnet18", in_channels=5, output_stride=8, norm="group", stem="deep")
    assert backbone.in_channels == 5
    assert backbone.input_convolutions == ("conv1.0",)
    assert max(spec.stride for spec in backbone.feature_specs.values()) == 8
    assert len(backbone.input_statistics.mean) == 5
