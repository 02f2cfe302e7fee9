"""What every registered backbone must do; most as toy twins, with every kind of block that they have."""

import copy
import io

import pytest
import torch
from torch import Tensor
from torch.fx import symbolic_trace

from resvision import create_backbone, list_backbones
from resvision.backbones import Backbone, get_entry, register_backbone
from resvision.backbones import registry as registry_module
from tests.backbones.oracles import published, toy

EVERY = pytest.mark.parametrize("name", list_backbones())


def built(name: str) -> Backbone:
    """Build with branches that do something, so that no parameter can hide."""
    entry = toy(name)
    options = {"zero_init_residual": False} if "zero_init_residual" in entry.option_names() else {}
    return entry.build(**options)


@EVERY
def test_registry__specs_equal_the_measured_maps(name: str) -> None:
    backbone = built(name).eval()
    for height, width in ((64, 64), (65, 97)):
        with torch.no_grad():
            features = backbone(torch.randn(1, 3, height, width))
        assert list(features) == list(backbone.feature_specs)
        for key, spec in backbone.feature_specs.items():
            size = (-(-height // spec.stride), -(-width // spec.stride))
            assert features[key].shape == (1, spec.channels, *size), key
    strides = [spec.stride for spec in backbone.feature_specs.values()]
    assert strides == sorted(strides)


@EVERY
def test_registry__backward_reaches_every_parameter(name: str) -> None:
    backbone = built(name).train()
    features: dict[str, Tensor] = backbone(torch.randn(2, 3, 64, 64))
    # Random directions, as the plain sum of a normalised map does not depend on what is in it.
    torch.stack([(feature * torch.randn_like(feature)).sum() for feature in features.values()]).sum().backward()
    silent = [key for key, p in backbone.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert silent == []


@EVERY
def test_registry__exports_and_traces_to_the_same_numbers(name: str) -> None:
    backbone = built(name).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = backbone(images)
        exported = torch.export.export(backbone, (images,)).module()(images)
        traced = symbolic_trace(backbone)(images)
    for key, feature in expected.items():
        torch.testing.assert_close(exported[key], feature, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(traced[key], feature, rtol=1e-5, atol=1e-5)


@EVERY
def test_registry__state_dict_makes_the_round_trip_through_a_file(name: str) -> None:
    first, second = built(name).eval(), built(name).eval()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for mine, other in zip(first(images).values(), second(images).values(), strict=True):
            assert torch.equal(mine, other)


@EVERY
def test_registry__stage_parameters_cover_every_parameter_once(name: str) -> None:
    backbone = built(name)
    for key, _ in backbone.named_parameters():
        owners = [stage for stage, prefixes in backbone.stage_parameters.items() if key.startswith(prefixes)]
        assert len(owners) == 1, key
    assert list(backbone.feature_specs) == list(backbone.stage_parameters)
    assert backbone.get_parameter(f"{backbone.input_convolution}.weight").shape[1] == 3


@EVERY
def test_registry__references_exist_and_the_paper_is_named(name: str) -> None:
    entry = get_entry(name)
    assert entry.paper is not None
    for reference in entry.references:
        library, _, model = reference.partition("/")
        assert model in published(library)


def test_registry__copies_are_independent() -> None:
    backbone = create_backbone("resnet10t").eval()
    twin = copy.deepcopy(backbone)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(twin(images)["stage4"], backbone(images)["stage4"])
        twin.get_parameter("conv1.0.weight").zero_()
        assert bool(backbone.get_parameter("conv1.0.weight").any())


def test_list_backbones__filters_by_pattern_and_sorts() -> None:
    assert list_backbones("resnet1?") == ["resnet18"]
    assert list_backbones() == sorted(list_backbones())
    assert list_backbones("nothing*") == []


def test_get_entry__an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet-50'; did you mean .*resnet50"):
        get_entry("resnet-50")
    with pytest.raises(ValueError, match=r"unknown backbone 'zzz'; there are .*resnet18"):
        get_entry("zzz")


def test_register_backbone__makes_a_name_buildable_and_refuses_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry_module, "_ENTRIES", dict(registry_module._ENTRIES))

    @register_backbone("tiny", paper="arXiv:1512.03385")
    def tiny(*, in_channels: int = 3) -> Backbone:
        return get_entry("resnet10t").build(in_channels=in_channels, out_features=("stem",))

    assert "tiny" in list_backbones()
    assert list(create_backbone("tiny", in_channels=1).feature_specs) == ["stem"]
    with pytest.raises(ValueError, match="'tiny' is registered already"):
        register_backbone("tiny")(tiny)
