from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn
from torchvision.models import resnet18

from resvision import create_backbone
from resvision.backbones import get_entry
from resvision.backbones.base import Backbone
from resvision.backbones.export import Passport, Target, export_backbone
from tests.backbones.oracles import randomized


def exported(backbone: nn.Module, name: str, to: Target, path: Path, head: nn.Linear | None = None) -> Passport:
    assert isinstance(backbone, Backbone)
    images = torch.randn(2, backbone.in_channels, 64, 64)
    return export_backbone(backbone, path, entry=get_entry(name), to=to, images=images, pictures="2 noise", head=head)


def test_export__a_classifier_keeps_its_logits(tmp_path: Path) -> None:
    backbone, head = randomized(create_backbone("resnet18")), nn.Linear(512, 7)
    passport = exported(backbone, "resnet18", "torchvision", tmp_path / "w.pth", head)
    assert passport.compared == "logits"
    model = resnet18(num_classes=7).eval()
    model.load_state_dict(torch.load(tmp_path / "w.pth", weights_only=True))
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = head(backbone(images)["stage4"].mean((2, 3)))
        torch.testing.assert_close(model(images), expected, rtol=0, atol=1e-5)


def test_export__a_dilated_backbone_goes_to_timm_and_not_to_torchvision(tmp_path: Path) -> None:
    backbone = randomized(create_backbone("resnet18", output_stride=8))
    assert exported(backbone, "resnet18", "timm", tmp_path / "w.safetensors").largest_difference <= 1e-5
    with pytest.raises(ValueError, match="torchvision's resnet18 computes something else than this one, by"):
        exported(backbone, "resnet18", "torchvision", tmp_path / "w.pth")
    assert not (tmp_path / "w.pth").exists()


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("googlenet", "torchvision"),  # its reference has auxiliary classifiers besides
        ("resnetv2_50", "timm"),  # its reference classifies by a convolution
        ("timm/resnet10t", "timm"),  # its names are not those of timm's whole model
        ("timm/resnet10t", "safetensors"),
        ("resunet_encoder", "safetensors"),
    ],
)
def test_export__of_every_kind_loads_as_its_passport_says(
    name: str, to: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = randomized(create_backbone(name))
    assert isinstance(backbone, Backbone)
    *_, spec = backbone.feature_specs.values()
    head = nn.Linear(spec.channels, 7)
    monkeypatch.chdir(tmp_path)
    passport = exported(backbone, name, to, Path("w.safetensors"), head)
    assert passport.largest_difference <= 1e-5
    loaded: dict[str, Any] = {name: import_module(name) for name in ("timm", "torch", "torchvision", "resvision")}
    loaded["safetensors"] = safetensors
    exec(passport.loads_with, loaded)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        *_, deepest = backbone(images).values()
        if to == "safetensors":
            *_, feature = loaded["backbone"].eval()(images).values()
            torch.testing.assert_close(feature, deepest, rtol=0, atol=1e-5)
        else:
            expected = head(deepest.mean((2, 3)))
            torch.testing.assert_close(loaded["model"].eval()(images), expected, rtol=0, atol=1e-5)


def test_export__a_wrapped_model_that_ends_before_timms_says_what_it_lacks(tmp_path: Path) -> None:
    backbone = create_backbone("timm/test_convnext")
    with pytest.raises(ValueError, match=r"timm has no model equal to this .*: Missing key\(s\).*head\.norm\.weight"):
        exported(backbone, "timm/test_convnext", "timm", tmp_path / "w.pth")


def test_export__the_passport_repeats_the_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {"in_channels": 1, "stem": "cifar"}
    backbone = create_backbone("resnet10t", **options)
    images = torch.randn(1, 1, 32, 32)
    passport = export_backbone(
        backbone,
        Path("w.safetensors"),
        entry=get_entry("resnet10t"),
        to="safetensors",
        images=images,
        pictures="1 noise",
        options=options,
    )
    loaded: dict[str, Any] = {"resvision": import_module("resvision")}
    exec(passport.loads_with, loaded)
    assert loaded["backbone"].feature_specs == backbone.feature_specs
    assert loaded["backbone"].in_channels == 1


@pytest.mark.parametrize(
    ("name", "to", "words"),
    [
        ("cifar_resnet20", "timm", "timm has no model equal to cifar_resnet20; export it to safetensors"),
        ("resnet10t", "torchvision", "torchvision has no model equal to resnet10t; export"),
    ],
)
def test_export__says_where_the_other_library_has_no_such_model(
    name: str, to: Target, words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=words):
        exported(create_backbone(name), name, to, tmp_path / "w.pth")


def test_export__a_backbone_of_other_options_has_no_twin(tmp_path: Path) -> None:
    backbone = create_backbone("resnet18", stem="cifar")
    with pytest.raises(ValueError, match=r"no model equal to this resnet18, built with other options: size mismatch"):
        exported(backbone, "resnet18", "timm", tmp_path / "w.pth")
    grey = create_backbone("resnet18", in_channels=1)
    with pytest.raises(ValueError, match="torchvision's models take 3 channels, this resnet18 takes 1"):
        exported(grey, "resnet18", "torchvision", tmp_path / "w.pth")
    assert exported(grey, "resnet18", "timm", tmp_path / "w.pth").largest_difference <= 1e-5
