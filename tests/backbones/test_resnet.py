"""Our ResNets against timm's and torchvision's, number by number."""

import copy
from typing import Any, Literal

import pytest
import timm
import torch
from torch import Tensor, nn

from resvision import create_backbone
from resvision.backbones import BackboneOptions, get_entry
from resvision.backbones.family import TABLE_1
from resvision.backbones.weights import load_strictly
from resvision.layers import Bottleneck, FrozenBatchNorm2d
from tests.backbones.oracles import (
    assert_same_features,
    timm_features,
    timm_model,
    timm_toy,
    torchvision_features,
    torchvision_model,
    toy,
)

# He et al. 2015, table 1 and its caption's sizes, as torchvision counts them, with the 1000-class layer.
PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}


def logits(features: dict[str, Tensor], model: nn.Module) -> Tensor:
    """Pool our deepest feature, and classify it with their layer."""
    scores: Tensor = model.get_submodule("fc")(features["stage4"].mean((2, 3)))
    return scores


@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.parametrize("name", TABLE_1)
def test_resnet__equals_the_reference_under_copied_weights(name: str, library: str) -> None:
    model = timm_model(name) if library == "timm" else torchvision_model(name)
    reference_features = timm_features if library == "timm" else torchvision_features
    ours = create_backbone(name).eval()
    load_strictly(ours, model.state_dict(), source=library)
    images = torch.randn(2, 3, 64, 65)
    with torch.no_grad():
        assert_same_features(ours, images, reference_features(model, images), atol=1e-5)
        torch.testing.assert_close(logits(ours(images), model), model(images), rtol=0, atol=1e-5)
        ours.double(), model.double()
        assert_same_features(ours, images.double(), reference_features(model, images.double()), atol=1e-10)


@pytest.mark.parametrize("name", TABLE_1)
def test_resnet__has_exactly_the_papers_parameters(name: str) -> None:
    with torch.device("meta"):
        backbone = create_backbone(name)
    deepest = backbone.feature_specs["stage4"].channels
    head = deepest * 1000 + 1000
    assert sum(p.numel() for p in backbone.parameters()) + head == PARAMETERS[name]


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnet__trains_as_timms(name: str) -> None:
    """The gradient of every parameter and the running statistics after one step in training mode."""
    model = timm_toy(name).train().double()
    ours = toy(name).build().train().double()
    load_strictly(ours, model.state_dict(), source="timm")
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    direction = torch.randn_like(ours(images)["stage4"])
    load_strictly(ours, model.state_dict(), source="timm")
    torch.autograd.backward((ours(images)["stage4"] * direction).sum())
    torch.autograd.backward((timm_features(model, images)[-1] * direction).sum())
    theirs = dict(model.named_parameters())
    for key, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[key].grad, rtol=1e-10, atol=1e-10)
    state = model.state_dict()
    for key, value in ours.state_dict().items():
        torch.testing.assert_close(value.double(), state[key].double(), rtol=1e-10, atol=1e-10)


def test_resnet__stride_sits_on_the_3x3_convolution() -> None:
    block = create_backbone("resnet50").get_submodule("layer2.0")
    assert isinstance(block, Bottleneck)
    assert (block.conv1.stride, block.conv2.stride, block.conv3.stride) == ((1, 1), (2, 2), (1, 1))


@pytest.mark.parametrize("zero", [True, False])
def test_resnet__zero_init_makes_every_branch_begin_as_nothing(zero: bool) -> None:
    backbone = create_backbone("resnet18", zero_init_residual=zero)
    scales = [p for key, p in backbone.named_parameters() if key.endswith("bn2.weight")]
    assert len(scales) == 8
    assert all(bool(torch.eq(scale, 0 if zero else 1).all()) for scale in scales)


def test_resnet__out_features_stops_early_and_builds_no_more() -> None:
    whole = create_backbone("resnet18").eval()
    part = create_backbone("resnet18", out_features=["stage2", "stem"]).eval()
    load_strictly(part, whole.state_dict(), source="resnet18")
    assert list(part.feature_specs) == ["stem", "stage2"]
    assert not any(name.startswith(("layer3", "layer4")) for name, _ in part.named_parameters())
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        features, expected = part(images), whole(images)
    assert list(features) == ["stem", "stage2"]
    for name, feature in features.items():
        assert torch.equal(feature, expected[name])


def test_resnet__cifar_stem_keeps_the_size_of_small_pictures() -> None:
    backbone = create_backbone("resnet18", stem="cifar")
    assert [spec.stride for spec in backbone.feature_specs.values()] == [1, 1, 2, 4, 8]
    features = backbone(torch.randn(2, 3, 32, 32))
    assert [feature.shape[-1] for feature in features.values()] == [32, 32, 16, 8, 4]


def test_resnet__frozen_norm_has_no_parameters_and_never_changes() -> None:
    model = timm_model("resnet18")
    ours = create_backbone("resnet18", norm="frozen").train()
    load_strictly(ours, model.state_dict(), source="timm")
    norms = [module for module in ours.modules() if isinstance(module, FrozenBatchNorm2d)]
    assert len(norms) == 20
    assert not any(list(norm.parameters()) for norm in norms)
    before = copy.deepcopy(ours.state_dict())
    images = torch.randn(2, 3, 64, 64)
    ours(images)["stage4"].sum().backward()
    assert all(torch.equal(value, before[key]) for key, value in ours.state_dict().items())
    with torch.no_grad():
        assert_same_features(ours, images, timm_features(model, images), atol=1e-5)


@pytest.mark.parametrize(("norm", "kind"), [("group", nn.GroupNorm), ("sync", nn.SyncBatchNorm)])
def test_resnet__other_norms_replace_every_one(norm: Literal["group", "sync"], kind: type[nn.Module]) -> None:
    backbone = create_backbone("resnet18", norm=norm).eval()
    assert sum(isinstance(module, kind) for module in backbone.modules()) == 20
    assert not any(type(module) is nn.BatchNorm2d for module in backbone.modules())
    assert bool(backbone(torch.randn(1, 3, 64, 64))["stage4"].isfinite().all())


# Ours, and timm's for the same.
OPTIONS: list[tuple[BackboneOptions, dict[str, Any]]] = [
    ({"stem": "deep"}, {"stem_type": "deep", "stem_width": 32}),
    ({"stem": "tiered"}, {"stem_type": "deep_tiered", "stem_width": 32}),
    ({"shortcut": "average"}, {"avg_down": True}),
    ({"norm": "group"}, {"norm_layer": "groupnorm"}),
    ({"norm": "sync"}, {}),
    ({"in_channels": 1}, {"in_chans": 1}),
    ({"in_channels": 2}, {"in_chans": 2}),
    ({"in_channels": 4}, {"in_chans": 4}),
    ({"output_stride": 8, "stem": "deep"}, {"output_stride": 8, "stem_type": "deep", "stem_width": 32}),
    ({"drop_path": 0.5}, {"drop_path_rate": 0.5}),
]


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize(("ours", "theirs"), OPTIONS, ids=lambda options: str(options))
def test_resnet__an_option_equals_timms(name: str, ours: BackboneOptions, theirs: dict[str, Any]) -> None:
    model = timm_toy(name, **theirs)
    backbone = toy(name).build(**ours).eval()
    load_strictly(backbone, model.state_dict(), source="timm")
    images = torch.randn(2, ours.get("in_channels", 3), 65, 97)
    with torch.no_grad():
        assert_same_features(backbone, images, timm_features(model, images), atol=1e-5)


def test_resnet__drop_path_drops_what_timms_drops() -> None:
    """In training, from the same random numbers."""
    model = timm_toy("resnet18", drop_path_rate=0.5).train()
    ours = toy("resnet18").build(drop_path=0.5).train()
    load_strictly(ours, model.state_dict(), source="timm")
    images = torch.randn(8, 3, 64, 64)
    torch.manual_seed(1)
    expected = timm_features(model, images)
    torch.manual_seed(1)
    for feature, other in zip(ours(images).values(), expected, strict=True):
        torch.testing.assert_close(feature, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet50d", "seresnet50", "resnetv2_50"])
def test_resnet__zero_init_begins_where_timms_does(name: str) -> None:
    def zeros(model: nn.Module) -> set[str]:
        parameters = model.named_parameters()
        return {key for key, p in parameters if key.endswith("weight") and not p.any() and not key.startswith("head")}

    ours = toy(name).build()
    model = timm.create_model(name, layers=(2, 1, 1, 1), zero_init_last=True)
    assert zeros(ours) == zeros(model) != set()
    assert zeros(toy(name).build(zero_init_residual=False)) == set()


def test_resnet__drop_path_grows_linearly_as_timms() -> None:
    ours = create_backbone("resnet18", drop_path=0.2)
    theirs = timm.create_model("resnet18", drop_path_rate=0.2)

    def rates(model: nn.Module, name: str) -> dict[str, float]:
        return {key: getattr(m, name) for key, m in model.named_modules() if type(m).__name__ == "DropPath"}

    assert rates(ours, "rate") == pytest.approx(rates(theirs, "drop_prob"))
    assert len(rates(ours, "rate")) == 7


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"output_stride": 4}, "output_stride must be one of 8, 16, 32, got 4"),
        ({"in_channels": 0}, "in_channels must be a whole number of at least 1, got 0"),
        ({"in_channels": "3"}, "in_channels must be a whole number of at least 1, got '3'"),
        ({"stem": "vgg"}, "stem must be one of 'imagenet', 'cifar', 'deep', 'tiered', got 'vgg'"),
        ({"norm": "layer"}, "norm must be one of 'batch', 'group', 'frozen', 'sync', 'none', got 'layer'"),
        ({"drop_path": 1.0}, r"drop_path must be a number, at least 0 and below 1, got 1\.0"),
        ({"drop_path": None}, "drop_path must be a number, at least 0 and below 1, got None"),
        ({"drop_path": "0.1"}, "drop_path must be a number, at least 0 and below 1, got '0.1'"),
        ({"drop_path": -0.1}, r"drop_path must be a number, at least 0 and below 1, got -0\.1"),
        ({"drop_path": 1.2, "out_features": ["stem"]}, r"drop_path must be a number, at least 0 and below 1, got 1\.2"),
        ({"shortcut": "none"}, "shortcut must be one of 'projection', 'projections', 'average', 'zero_pad', got"),
        ({"activation": "gelu"}, "activation must be one of 'relu', 'sigmoid', got 'gelu'"),
        ({"out_features": ["stage9"]}, r"out_features must be a list of some of stem, .*, got \['stage9'\]"),
        ({"out_features": "stage4"}, r"out_features must be a list of some of stem, .*, got 'stage4'"),
        ({"out_features": []}, r"out_features must be a list of some of stem, .*, got \[\]"),
    ],
)
def test_resnet__a_value_out_of_range_is_an_error_that_says_the_range(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        get_entry("resnet18").build(**options)


def test_resnet__a_picture_that_is_no_batch_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"must come as a batch \(N, C, H, W\), got shape \(3, 64, 64\)"):
        create_backbone("resnet10t")(torch.zeros(3, 64, 64))


def test_resnet__pictures_too_small_or_of_other_channels_are_an_error() -> None:
    backbone = create_backbone("resnet10t")
    with pytest.raises(ValueError, match="at least 32 pixels high and wide, the network's stride, got 31x64"):
        backbone(torch.zeros(1, 3, 31, 64))
    with pytest.raises(ValueError, match="built for 3 channels, got pictures of 4"):
        backbone(torch.zeros(1, 4, 64, 64))
