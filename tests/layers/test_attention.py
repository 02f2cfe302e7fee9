import pytest
import timm.layers
import torch
from torch import nn

from resvision.layers import BlurPool2d, EfficientChannelAttention, SqueezeExcitation


@pytest.mark.parametrize("channels", [32, 64, 256, 2048])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(SqueezeExcitation, timm.layers.SEModule), (EfficientChannelAttention, timm.layers.EcaModule)],  # type: ignore[attr-defined]
)
def test_attention__equals_timm(ours: type[nn.Module], theirs: type[nn.Module], channels: int) -> None:
    own, other = ours(channels), theirs(channels)
    own.load_state_dict(other.state_dict())
    x = torch.randn(2, channels, 5, 3)
    torch.testing.assert_close(own(x), other(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
def test_blur_pool__equals_timm(stride: int) -> None:
    x = torch.randn(2, 8, 9, 6)
    expected = timm.layers.BlurPool2d(8, stride=stride)(x)  # type: ignore[attr-defined]
    torch.testing.assert_close(BlurPool2d(8, stride=stride)(x), expected, rtol=1e-6, atol=1e-6)
