from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resvision.backbones import create_backbone
from resvision.layers import IMAGENET
from resvision.models import Classifier
from tests.backbones.oracles import timm_model, torchvision_model
from tests.models.toy import ToyBackbone

SMALL = "resnet10t"  # the smallest that is registered


def _pictures(height: int, width: int, count: int = 2) -> Tensor:
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)


def _normalized(pictures: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET.mean, IMAGENET.std))
    return (pictures / 255 - mean) / std


def _with_weights_of(reference: nn.Module, name: str, **options: Any) -> Classifier:
    """Copy a whole model of timm's or torchvision's; only the name of the last layer differs."""
    model = Classifier(create_backbone(name, **options), 1000).eval()
    state = reference.state_dict()
    model.head.fc.load_state_dict({key: state.pop(f"fc.{key}") for key in ("weight", "bias")})
    model.backbone.load_state_dict(state)
    return model


@pytest.mark.parametrize("name", [SMALL, "resnet18", "resnet26d"])
def test_classifier__equals_timms_whole_model(name: str) -> None:
    reference = timm_model(name)
    model, pictures = _with_weights_of(reference, name), _pictures(64, 97)
    with torch.no_grad():
        torch.testing.assert_close(model(pictures), reference(_normalized(pictures)), rtol=1e-5, atol=1e-5)


def test_classifier__equals_torchvisions_whole_model() -> None:
    reference = torchvision_model("resnet18")
    model, pictures = _with_weights_of(reference, "resnet18"), _pictures(64, 97)
    with torch.no_grad():
        torch.testing.assert_close(model(pictures), reference(_normalized(pictures)), rtol=1e-5, atol=1e-5)


def test_classifier__sees_the_coarsest_feature() -> None:
    model = Classifier(ToyBackbone(), 5)
    seen: list[Tensor] = []
    model.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    assert model(_pictures(8, 12)).shape == (2, 5)
    assert seen[0].shape == (2, 16, 2, 3)


@pytest.mark.parametrize(("dtype", "largest"), [(torch.uint16, 65535), (torch.float32, 1.0)])
def test_classifier__sees_the_same_picture_in_every_type(dtype: torch.dtype, largest: float) -> None:
    model = Classifier(ToyBackbone(), 5).eval()
    pictures = _pictures(8, 8)
    other = (pictures.double() / 255 * largest).round() if dtype == torch.uint16 else pictures / 255
    torch.testing.assert_close(model(other.to(dtype)), model(pictures))


def test_classifier__trains_every_parameter() -> None:
    model = Classifier(create_backbone(SMALL), 4).train()
    model(_pictures(65, 96)).square().mean().backward()
    untouched = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert untouched == []


def test_classifier__refuses_pictures_below_the_stride() -> None:
    with pytest.raises(ValueError, match="at least 32 pixels high and wide, the network's stride, got 28x28"):
        Classifier(create_backbone(SMALL), 4)(_pictures(28, 28))


def test_classifier__is_exported_for_any_size() -> None:
    model = Classifier(ToyBackbone(), 4).eval()
    batch, height, width = torch.export.Dim("batch", min=1), torch.export.Dim.AUTO, torch.export.Dim.AUTO
    program = torch.export.export(model, (_pictures(64, 96),), dynamic_shapes=({0: batch, 2: height, 3: width},))
    pictures = _pictures(83, 71, count=3)
    torch.testing.assert_close(program.module()(pictures), model(pictures), rtol=1e-4, atol=1e-4)
