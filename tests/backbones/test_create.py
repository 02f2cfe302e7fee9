from pathlib import Path
from typing import Any

import pytest
import torch

from resvision import create_backbone
from resvision.backbones.registry import get_entry


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


def test_create__takes_a_path_as_weights(tmp_path: Path) -> None:
    first = create_backbone("resnet10t")
    torch.save(first.state_dict(), tmp_path / "weights.pth")
    again = create_backbone("resnet10t", weights=tmp_path / "weights.pth")
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))


@pytest.mark.parametrize("option", ["norm", "stem", "shortcut"])
@pytest.mark.parametrize("value", [False, "", 0])
@pytest.mark.parametrize("name", ["resnet10t", "resnetv2_50"])
def test_create__takes_nothing_for_the_default_but_none(name: str, option: str, value: Any) -> None:
    if option in get_entry(name).option_names():
        with pytest.raises(ValueError, match=f"{option} must be one of"):
            create_backbone(name, **{option: value})
