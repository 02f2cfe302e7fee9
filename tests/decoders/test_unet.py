import pytest
import torch
from torch import Tensor, nn

from resvision.decoders import UNetDecoder
from resvision.features import FeatureSpec

SPECS = {"stem": FeatureSpec(4, 2), "stage1": FeatureSpec(6, 4), "stage2": FeatureSpec(8, 8)}


def _features(height: int, width: int, specs: dict[str, FeatureSpec] = SPECS) -> dict[str, Tensor]:
    return {
        name: torch.randn(2, spec.channels, -(-height // spec.stride), -(-width // spec.stride))
        for name, spec in specs.items()
    }


@pytest.mark.parametrize(("height", "width"), [(32, 48), (37, 51), (9, 8), (1, 1)])
def test_unet_decoder__returns_the_size_of_the_finest_feature(height: int, width: int) -> None:
    decoder = UNetDecoder(SPECS, widths=(7, 5)).eval()
    features = _features(height, width)
    result = decoder(features)
    assert result.shape == (2, 5, *features["stem"].shape[-2:])
    assert (decoder.out_channels, decoder.stride) == (5, 2)


def test_unet_decoder__joins_each_skip_at_its_own_stride() -> None:
    decoder = UNetDecoder(SPECS, widths=(7, 5))
    first = [conv.weight.shape[:2] for conv in decoder.modules() if isinstance(conv, nn.Conv2d)]
    # The first convolution of each block and the shortcut see the joined channels: 8 + 6, then 7 + 4.
    assert first == [(7, 14), (7, 7), (7, 14), (5, 11), (5, 5), (5, 11)]


def test_unet_decoder__halves_its_width_by_default() -> None:
    specs = {f"s{i}": FeatureSpec(4, 2**i) for i in range(7)}
    features = {name: torch.randn(2, 4, 64 // spec.stride, 64 // spec.stride) for name, spec in specs.items()}
    widths: list[int] = []
    decoder = UNetDecoder(specs)
    for block in decoder.blocks:
        block.register_forward_hook(lambda _, __, result: widths.append(result.shape[1]))
    decoder(features)
    assert widths == [256, 128, 64, 32, 32, 32]


def test_unet_decoder__uses_the_deepest_of_features_that_share_a_stride() -> None:
    specs = SPECS | {"stage3": FeatureSpec(10, 8)}
    decoder = UNetDecoder(specs, widths=(7, 5)).eval()
    features = _features(16, 16, specs)
    expected = decoder(features)
    assert torch.equal(decoder(features | {"stage2": torch.randn_like(features["stage2"])}), expected)
    assert not torch.equal(decoder(features | {"stage3": torch.randn_like(features["stage3"])}), expected)


def test_unet_decoder__every_feature_and_parameter_takes_part() -> None:
    decoder = UNetDecoder(SPECS)
    features = {name: feature.requires_grad_() for name, feature in _features(16, 24).items()}
    decoder(features).square().sum().backward()
    assert all(feature.grad is not None and feature.grad.any() for feature in features.values())
    assert all(parameter.grad is not None for parameter in decoder.parameters())


def test_unet_decoder__keeps_channels_last() -> None:
    decoder = UNetDecoder(SPECS).to(memory_format=torch.channels_last)
    features = {
        name: feature.contiguous(memory_format=torch.channels_last) for name, feature in _features(16, 24).items()
    }
    assert decoder(features).is_contiguous(memory_format=torch.channels_last)


def test_unet_decoder__refuses_another_number_of_widths() -> None:
    with pytest.raises(ValueError, match=r"widths must hold 2 numbers, one per step from stride 8 to 2, got \[4\]"):
        UNetDecoder(SPECS, widths=[4])


def test_unet_decoder__refuses_features_of_one_stride() -> None:
    with pytest.raises(ValueError, match=r"two strides or more, got strides \[4\]"):
        UNetDecoder({"a": FeatureSpec(4, 4), "b": FeatureSpec(4, 4)})


def test_unet_decoder__ends_at_the_stride_that_is_asked_for() -> None:
    decoder = UNetDecoder(SPECS, end_stride=4, widths=(7,)).eval()
    features = _features(37, 51)
    result = decoder(features)
    assert result.shape == (2, 7, *features["stage1"].shape[-2:])
    assert (decoder.out_channels, decoder.stride) == (7, 4)
    assert torch.equal(decoder({name: features[name] for name in ("stage1", "stage2")}), result)


@pytest.mark.parametrize("stride", [1, 8, 16])
def test_unet_decoder__names_the_strides_that_it_can_end_at(stride: int) -> None:
    with pytest.raises(ValueError, match=f"can end at stride 4 or 2, not at {stride}"):
        UNetDecoder(SPECS, end_stride=stride)
