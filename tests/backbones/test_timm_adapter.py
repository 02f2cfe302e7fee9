from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from resvision import create_backbone
from resvision.backbones.weights import load_strictly
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
        pytest.param("vgg11", 64, marks=pytest.mark.slow),
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


# One each of what timm's wrappers do to names: kept, flattened, put below another module.
WRAPPED = pytest.mark.parametrize(
    "model", ["resnet10t", "test_convnext", "test_efficientnet", "test_vit", "test_nfnet", "tresnet_m", "regnety_002"]
)


@WRAPPED
def test_timm_backbone__every_tensor_has_its_name_in_timms_whole_model(model: str) -> None:
    with torch.device("meta"):
        backbone = create_backbone(f"timm/{model}")
        whole = timm.create_model(model).state_dict()
    own = backbone.state_dict()
    names = backbone.reference_names()
    assert set(names) == set(whole)
    assert sorted(ours for ours in names.values() if ours is not None) == sorted(own)
    assert all(whole[theirs].shape == own[ours].shape for theirs, ours in names.items() if ours is not None)


@pytest.mark.parametrize("in_channels", [1, 2, 3, 4])
@pytest.mark.parametrize("model", ["test_resnet", "test_convnext", "test_vit"])
def test_timm_backbone__weights_of_other_channels_equal_timm(model: str, in_channels: int, tmp_path: Path) -> None:
    torch.save(timm_model(model).state_dict(), tmp_path / "w.pth")
    file = {"file": str(tmp_path / "w.pth")}
    theirs: Any = timm.create_model(model, pretrained=True, pretrained_cfg_overlay=file, in_chans=in_channels).eval()
    ours = create_backbone(f"timm/{model}", in_channels=in_channels, weights=str(tmp_path / "w.pth")).eval()
    images = torch.randn(1, in_channels, 160, 160)
    with torch.no_grad():
        expected = theirs.forward_intermediates(images, intermediates_only=True)[-len(ours.feature_specs) :]
        for feature, other in zip(ours(images).values(), expected, strict=True):
            torch.testing.assert_close(feature, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "other"), [("test_vit", "resnet10t"), ("resnet18", "resnet10t"), ("resnet10t", "test_vit")]
)
def test_timm_backbone__weights_of_another_model_are_an_error(model: str, other: str, tmp_path: Path) -> None:
    torch.save(timm_model(other).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w\.pth holds the weights of another network:\n"):
        create_backbone(f"timm/{model}", weights=str(tmp_path / "w.pth"))


def test_timm_backbone__takes_its_own_weights_back(tmp_path: Path) -> None:
    first = create_backbone("timm/test_vit")
    torch.save({f"model.backbone.{key}": value for key, value in first.state_dict().items()}, tmp_path / "run.ckpt")
    second = create_backbone("timm/test_vit", weights=str(tmp_path / "run.ckpt"))
    assert all(torch.equal(value, first.state_dict()[key]) for key, value in second.state_dict().items())


def test_timm_backbone__builds_no_more_than_its_features_need() -> None:
    whole, part = create_backbone("timm/resnet18"), create_backbone("timm/resnet18", out_features=["stage1"])
    assert list(part(torch.randn(1, 3, 64, 64))) == ["stage1"]
    assert not any("layer2" in name for name, _ in part.named_parameters())
    load_strictly(part, timm_model("resnet18").state_dict(), source="timm")
    assert whole.feature_specs["stage1"] == part.feature_specs["stage1"]


def test_timm_backbone__a_vision_transformer_takes_pictures_of_any_size() -> None:
    backbone = create_backbone("timm/vit_tiny_patch16_224", out_features=["stage3"]).eval()
    with torch.no_grad():
        assert backbone(torch.randn(1, 3, 65, 97))["stage3"].shape == (1, 192, 5, 7)


def test_timm_backbone__of_a_fixed_size_says_so() -> None:
    backbone = create_backbone("timm/swin_tiny_patch4_window7_224", out_features=["stage1"])
    with pytest.raises(ValueError, match=r"timm's swin_tiny.* cannot take pictures of \(1, 3, 64, 64\): Input height"):
        backbone(torch.zeros(1, 3, 64, 64))


def test_timm_backbone__options_reach_timm() -> None:
    backbone = create_backbone("timm/test_resnet", in_channels=5, output_stride=8, out_features=["stage4", "stem"])
    assert [(name, spec.stride) for name, spec in backbone.feature_specs.items()] == [("stem", 2), ("stage4", 8)]
    assert list(backbone(torch.randn(1, 5, 64, 64))) == ["stem", "stage4"]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("timm/resnet5", {}, r"timm has no model 'resnet5'; did you mean .*resnet50"),
        ("timm/x", {}, r"^timm has no model 'x'; timm\.list_models\(\) names those that it has$"),
        ("timm/test_vit", {"output_stride": 8}, r"timm cannot build 'test_vit' with in_chans=3, output_stride=8: "),
        (
            "timm/test_resnet",
            {"output_stride": 5},
            r"timm cannot build 'test_resnet' with in_chans=3, output_stride=5; output_stride is 8, 16 or 32 where",
        ),
        ("timm/resnet18", {"weights": "timm/a1"}, r"timm has no weights 'a1' for timm/resnet18; .*a1_in1k"),
        ("timm/resnet18", {"drop": 1}, r"timm/resnet18 has no option 'drop'; .*in_channels"),
    ],
)
def test_timm_backbone__mistakes_are_one_clear_error(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        create_backbone(name, **options)
