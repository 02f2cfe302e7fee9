"""What every registered backbone must do; most as toy twins, with every kind of block that they have."""

import copy
import io
import os
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.fx import symbolic_trace

from resvision import create_backbone, list_backbones
from resvision.backbones import Backbone, BackboneEntry, ResNet, get_entry, register_backbone
from resvision.backbones import registry as registry_module
from resvision.backbones.family import ResNetLayout
from resvision.backbones.weights import load_strictly
from tests.backbones.oracles import (
    assert_same_features,
    randomized,
    reference_model,
    timm_features,
    timm_toy,
    torchvision_features,
    torchvision_toy,
    torchvision_twin,
    toy,
)
from tests.exporting import EXPORTS_ANY_SIZE

EVERY = pytest.mark.parametrize("name", list_backbones())


def kinds() -> list[str]:
    """Return one entry of each kind: those that differ by depths and widths alone have the same layers."""
    named: dict[object, str] = {}
    for name in list_backbones():
        layout = get_entry(name).layout
        alike = replace(layout, depths=(), channels=()) if isinstance(layout, ResNetLayout) else name
        named.setdefault((get_entry(name).builder, alike), name)
    return list(named.values())


EACH_KIND = pytest.mark.parametrize("name", kinds())


def referring_to(library: str) -> pytest.MarkDecorator:
    """Parametrise over the entries that have a reference in a library."""
    names = [name for name in list_backbones() if get_entry(name).reference_in(library)]
    return pytest.mark.parametrize("name", names)


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
            if name == "googlenet" and height % 2 and key != "stem":
                size = (height // spec.stride, width // spec.stride)  # its pools have no padding
            assert features[key].shape == (1, spec.channels, *size), key
    strides = [spec.stride for spec in backbone.feature_specs.values()]
    assert strides == sorted(strides)


@EVERY
def test_registry__backward_reaches_every_parameter(name: str) -> None:
    backbone = built(name).train()
    features: dict[str, Tensor] = backbone(torch.randn(2, 3, 64, 64))
    # Random directions, as the plain sum of a normalised map does not depend on what is in it.
    torch.stack([(f * torch.randn_like(f)).sum() for f in features.values()]).sum().backward()  # type: ignore[no-untyped-call]
    silent = [key for key, p in backbone.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert silent == []


@EXPORTS_ANY_SIZE
@EVERY
def test_registry__exports_and_traces_to_the_same_numbers(name: str) -> None:
    """Exported once for any number and size of pictures, and traced once."""
    backbone = built(name).eval()
    any_size = ({0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)
    exported = torch.export.export(backbone, (torch.randn(2, 3, 64, 96),), dynamic_shapes=any_size).module()
    traced = symbolic_trace(backbone)
    images = torch.randn(3, 3, 97, 65)
    with torch.no_grad():
        expected, of_export, of_trace = backbone(images), exported(images), traced(images)
    for key, feature in expected.items():
        torch.testing.assert_close(of_export[key], feature, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(of_trace[key], feature, rtol=1e-5, atol=1e-5)


@EACH_KIND
def test_registry__compiles_as_one_graph(name: str) -> None:
    """Without a code generator behind it, which would take minutes over all of them."""
    backbone, images = built(name).eval(), torch.randn(1, 3, 64, 64)
    torch.compiler.reset()
    compiled = torch.compile(backbone, backend="eager", fullgraph=True)
    with torch.no_grad():
        for feature, expected in zip(compiled(images).values(), backbone(images).values(), strict=True):
            assert torch.equal(feature, expected)


@EACH_KIND
def test_registry__keeps_channels_last_in_every_layer(name: str) -> None:
    """One layer that falls back to the other format makes the next convolution reorder its input."""
    backbone = built(name).eval().to(memory_format=torch.channels_last)
    fallen: list[str] = []

    def watch(layer: str) -> Callable[[nn.Module, object, Tensor], None]:
        def look(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            if output.ndim == 4 and not output.is_contiguous(memory_format=torch.channels_last):
                fallen.append(layer)

        return look

    for layer, module in backbone.named_modules():
        if not list(module.children()):
            module.register_forward_hook(watch(layer))
    with torch.no_grad():
        backbone(torch.randn(2, 3, 64, 96).to(memory_format=torch.channels_last))
    assert fallen == []


@EACH_KIND
def test_registry__works_in_every_floating_type(name: str) -> None:
    backbone, images = built(name).eval(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = backbone(images)
        for dtype, share in ((torch.bfloat16, 0.05), (torch.float16, 0.01)):
            with torch.autocast("cpu", dtype):
                features = backbone(images)
            for key, feature in features.items():
                assert (feature.float() - expected[key]).norm() < share * expected[key].norm(), (dtype, key)
        for dtype in (torch.bfloat16, torch.float64):
            features = copy.deepcopy(backbone).to(dtype)(images.to(dtype))
            assert {feature.dtype for feature in features.values()} == {dtype}


@EVERY
def test_registry__a_feature_alone_is_the_same_and_needs_no_more_than_comes_before(name: str) -> None:
    """Also that no later layer changes a feature in place."""
    whole, images = built(name).eval(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = {key: feature.clone() for key, feature in whole(images).items()}
    sizes = []
    for key in whole.feature_specs:
        part = toy(name).build(out_features=[key]).eval()
        load_strictly(part, whole.state_dict(), source="whole")
        with torch.no_grad():
            assert torch.equal(part(images)[key], expected[key]), key
        sizes.append(sum(parameter.numel() for parameter in part.parameters()))
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == sum(parameter.numel() for parameter in whole.parameters())


@EACH_KIND
def test_registry__evaluation_after_training_is_as_before_and_copies_agree(name: str) -> None:
    backbone, images = built(name).eval(), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = backbone(images)
        twins = (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone)), backbone.train().eval())
        for twin in twins:
            for feature, other in zip(twin(images).values(), expected.values(), strict=True):
                assert torch.equal(feature, other)


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
    assert set(backbone.feature_specs) <= set(backbone.stage_parameters)
    for convolution in backbone.input_convolutions:
        assert backbone.get_parameter(f"{convolution}.weight").shape[1] == 3


@referring_to("timm")
def test_registry__equals_timm_under_copied_weights_dilated_or_not(name: str) -> None:
    images = torch.randn(1, 3, 65, 97)
    for output_stride in (8, 16, 32):
        model = timm_toy(name, output_stride=output_stride)
        ours = toy(name).build(output_stride=output_stride).eval()
        load_strictly(ours, model.state_dict(), source="timm")
        assert max(spec.stride for spec in ours.feature_specs.values()) == output_stride
        with torch.no_grad():
            assert_same_features(ours, images, timm_features(model, images), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "reference"), [(name, reference) for name in list_backbones() for reference in get_entry(name).references]
)
def test_registry__has_the_parameters_of_its_reference(name: str, reference: str) -> None:
    """Names and shapes at full size, on a device that holds no numbers; the arithmetic is compared on the toys."""
    with torch.device("meta"):
        ours = create_backbone(name).state_dict()
        theirs = reference_model(reference).state_dict()
    body = {key: value.shape for key, value in theirs.items() if not key.startswith(("fc.", "head.", "aux"))}
    assert {key: value.shape for key, value in ours.items()} == body


@referring_to("torchvision")
def test_registry__equals_torchvision_under_copied_weights(name: str) -> None:
    model = torchvision_toy(name)
    ours = torchvision_twin(name).eval()
    load_strictly(ours, model.state_dict(), source="torchvision")
    for height, width in ((64, 64), (65, 97)):
        images = torch.randn(1, 3, height, width)
        with torch.no_grad():
            assert_same_features(ours, images, torchvision_features(model, images), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "reference"), [(name, reference) for name in list_backbones() for reference in get_entry(name).references]
)
def test_registry__at_full_size_equals_its_reference_under_copied_weights(name: str, reference: str) -> None:
    model = randomized(reference_model(reference))
    ours = create_backbone(name).eval()
    load_strictly(ours, model.state_dict(), source=reference)
    images = torch.randn(1, 3, 64, 97)
    features = timm_features if reference.startswith("timm") else torchvision_features
    with torch.no_grad():
        assert_same_features(ours, images, features(model, images), atol=1e-5)


@EVERY
def test_registry__the_paper_is_named(name: str) -> None:
    paper = get_entry(name).paper
    assert paper is not None
    assert re.fullmatch(r"arXiv:\d{4}\.\d{5}|arXiv:\d{4}\.\d{4}", paper)


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
        register_backbone("tiny")(lambda: tiny())
    with pytest.raises(ValueError, match="'resnet18' is registered already"):
        register_backbone("resnet18")(tiny)


def test_register_backbone__takes_a_cell_of_a_notebook_that_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_ENTRIES", dict(registry_module._ENTRIES))
    for feature in ("stem", "stage1"):

        @register_backbone("tiny")
        def tiny(*, in_channels: int = 3, feature: str = feature) -> Backbone:
            return get_entry("resnet10t").build(in_channels=in_channels, out_features=(feature,))

        assert list(create_backbone("tiny").feature_specs) == [feature]
    with pytest.raises(ValueError, match="'resnet18' is registered already"):
        register_backbone("resnet18")(ResNet)


TOY_PACKAGE = {
    "toynets.py": """
from resvision.backbones import Backbone
from resvision.features import FeatureSpec
from torch import nn

class ToyNet(Backbone):
    def __init__(self, *, in_channels: int = 3, width: int = 8) -> None:
        super().__init__(in_channels)
        self.conv = nn.Conv2d(in_channels, width, 3, stride=2, padding=1)
        self.input_convolutions = ("conv",)
        self.feature_specs = {"stem": FeatureSpec(width, 2)}
        self.stage_parameters = {"stem": ("conv.",)}

    def compute_features(self, images):
        return {"stem": self.conv(images)}
""",
    "toynets-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: toynets\nVersion: 1.0\n",
    "toynets-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "toynets-1.0.dist-info/RECORD": "",
    "toynets-1.0.dist-info/entry_points.txt": "[resvision.backbones]\ntoynet = toynets:ToyNet\n",
}


def test_registry__a_package_adds_a_backbone_by_being_installed(tmp_path: Path) -> None:
    wheel = tmp_path / "toynets-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in TOY_PACKAGE.items():
            archive.writestr(name, content)
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    code = (
        "import sys, resvision; assert 'toynet' in resvision.list_backbones(); assert 'toynets' not in sys.modules; "
        "print(resvision.create_backbone('toynet', width=4).feature_specs)"
    )
    environment = os.environ | {"PYTHONPATH": str(site)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "{'stem': FeatureSpec(channels=4, stride=2)}"


def test_register_backbone__adds_the_paper_to_what_an_entry_point_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_ENTRIES", dict(registry_module._ENTRIES))

    def tiny(*, in_channels: int = 3) -> Backbone:
        return get_entry("resnet10t").build(in_channels=in_channels)

    points = [EntryPoint(name, f"{__name__}:{tiny.__qualname__}", "resvision.backbones") for name in ("tiny", "other")]
    installed = {point.name: BackboneEntry(point.name, point.value) for point in points}
    monkeypatch.setattr(registry_module, "_installed", lambda: installed)
    register_backbone("tiny", paper="arXiv:1512.03385")(tiny)
    assert get_entry("tiny").paper == "arXiv:1512.03385"
    with pytest.raises(ValueError, match="'other' is registered already"):
        register_backbone("other")(lambda: get_entry("resnet10t").build())


def test_registry__a_package_that_takes_a_known_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("resnet18", "other:Net", "resvision.backbones")
    monkeypatch.setattr(registry_module, "entry_points", lambda group: [point])
    with pytest.raises(ValueError, match="an installed package registers a backbone named 'resnet18', which is taken"):
        registry_module._installed.__wrapped__()


def test_registry__lists_without_importing_torch() -> None:
    code = "import sys, resvision; resvision.list_backbones(); print('torch' in sys.modules, 'numpy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False False"


def test_register__leaves_timms_names_to_timm() -> None:
    with pytest.raises(ValueError, match="'timm/tiny' is a model of timm's; choose another name"):
        register_backbone("timm/tiny")
