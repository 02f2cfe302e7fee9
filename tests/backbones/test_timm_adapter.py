from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from resvision import create_backbone
from resvision.features import FeatureSpec, select
from tests.backbones.oracles import timm_model


# One each of: a plain pyramid, maps with channels last, one stride for all, no stem, an adaptive first stride of 1.
@pytest.mark.parametrize(
    ("model", "side"),
    [
        ("test_resnet", 64),
        ("swin_tiny_patch4_window7_224", 224),
        ("test_vit", 160),
        ("test_convnext", 64),
        ("vgg11", 64),
    ],
)
def test_timm_backbone__gives_timms_maps_under_our_contract(model: str, side: int) -> None:
    backbone = create_backbone(f"timm/{model}").eval()
    images = torch.randn(1, 3, side, side)
    with torch.no_grad():
        features = backbone(images)
        theirs = backbone.get_submodule("network")(images)
    assert list(features) == list(backbone.feature_specs)
    for (name, spec), expected in zip(backbone.feature_specs.items(), theirs, strict=True):
        assert features[name].shape == (1, spec.channels, side // spec.stride, side // spec.stride)
        assert sorted(features[name].flatten().tolist()) == sorted(expected.flatten().tolist())


def test_timm_backbone__equals_our_own_resnet(tmp_path: Path) -> None:
    torch.save(timm_model("resnet18").state_dict(), tmp_path / "w.pth")
    theirs = create_backbone("timm/resnet18", weights=str(tmp_path / "w.pth")).eval()
    ours = create_backbone("resnet18", weights=str(tmp_path / "w.pth")).eval()
    assert theirs.feature_specs == ours.feature_specs
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = ours(images)
        for name, feature in theirs(images).items():
            torch.testing.assert_close(feature, expected[name], rtol=0, atol=1e-5)


def test_timm_backbone__of_a_vision_transformer_is_picked_by_stride() -> None:
    backbone = create_backbone("timm/test_vit")
    assert set(backbone.feature_specs.values()) == {FeatureSpec(64, 16)}
    assert select(backbone.feature_specs, [16]) == (list(backbone.feature_specs)[-1],)


def test_timm_backbone__knows_the_statistics_of_its_model() -> None:
    config = timm.get_pretrained_cfg("test_vit")
    assert config is not None
    assert create_backbone("timm/test_vit").input_statistics.mean == config.mean


def test_timm_backbone__loads_a_tag_with_the_statistics_of_that_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = timm_model("test_vit").state_dict()
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *_, **__: dict(trained))
    backbone = create_backbone("timm/test_vit", weights="timm/r160_in1k")
    config = timm.get_pretrained_cfg("test_vit.r160_in1k")
    assert config is not None
    assert backbone.input_statistics.mean == config.mean
    key = "blocks.0.attn.qkv.weight"
    assert torch.equal(backbone.get_parameter(f"network.model.{key}"), trained[key])


def test_timm_backbone__options_reach_timm() -> None:
    backbone = create_backbone("timm/test_resnet", in_channels=5, output_stride=8, out_features=["stage4", "stem"])
    assert [(name, spec.stride) for name, spec in backbone.feature_specs.items()] == [("stem", 2), ("stage4", 8)]
    assert list(backbone(torch.randn(1, 5, 64, 64))) == ["stem", "stage4"]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("timm/resnet5", {}, r"timm has no model 'resnet5'; did you mean .*resnet50"),
        ("timm/test_vit", {"output_stride": 8}, r"timm cannot build 'test_vit' with these options"),
        ("timm/resnet18", {"weights": "timm/a1"}, r"timm has no weights 'a1' for timm/resnet18; .*a1_in1k"),
        ("timm/resnet18", {"drop": 1}, r"timm/resnet18 has no option 'drop'; .*in_channels"),
    ],
)
def test_timm_backbone__mistakes_are_one_clear_error(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        create_backbone(name, **options)
