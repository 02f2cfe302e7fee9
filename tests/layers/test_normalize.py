import pytest
import torch
from torchvision.transforms.v2.functional import normalize

from resvision.layers.normalize import IMAGENET, InputNormalization, InputStatistics


def test_normalization__of_uint8_equals_torchvision() -> None:
    pixels = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    expected = normalize(pixels / 255, list(IMAGENET.mean), list(IMAGENET.std))
    torch.testing.assert_close(InputNormalization(IMAGENET)(pixels), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("dtype", "scale"), [(torch.uint8, 255), (torch.uint16, 65535)])
def test_normalization__an_integer_picture_equals_its_float_twin(dtype: torch.dtype, scale: int) -> None:
    pixels = torch.randint(0, scale + 1, (1, 3, 4, 4)).to(dtype)
    layer = InputNormalization(IMAGENET)
    torch.testing.assert_close(layer(pixels), layer(pixels.float() / scale), rtol=1e-6, atol=1e-6)


def test_normalization__keeps_channels_last() -> None:
    pixels = torch.zeros(2, 3, 8, 8, dtype=torch.uint8).to(memory_format=torch.channels_last)
    assert InputNormalization(IMAGENET)(pixels).is_contiguous(memory_format=torch.channels_last)


def test_normalization__its_numbers_travel_in_the_state_dict() -> None:
    state = InputNormalization(IMAGENET).state_dict()
    assert state["mean"].flatten().tolist() == pytest.approx(IMAGENET.mean)
    assert state["std"].flatten().tolist() == pytest.approx(IMAGENET.std)


def test_normalization__refuses_other_channels_and_other_types() -> None:
    layer = InputNormalization(IMAGENET)
    with pytest.raises(ValueError, match="built for 3 channels, got pictures with 1"):
        layer(torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"uint8, uint16 or floating point, got torch\.int64"):
        layer(torch.zeros(1, 3, 4, 4, dtype=torch.int64))


def test_statistics__one_channel_gets_the_average_and_more_repeat() -> None:
    statistics = InputStatistics((0.1, 0.2, 0.6), (0.5, 0.5, 0.2))
    grey = statistics.for_channels(1)
    assert (*grey.mean, *grey.std) == pytest.approx((0.3, 0.4))
    assert statistics.for_channels(3) == statistics
    assert statistics.for_channels(4).mean == (0.1, 0.2, 0.6, 0.1)


@pytest.mark.parametrize(
    ("mean", "std", "words"),
    [((0.5,), (), "one value per channel"), ((0.5,), (0.0,), "above 0"), ((), (), "one value")],
)
def test_statistics__impossible_numbers_are_an_error(
    mean: tuple[float, ...], std: tuple[float, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        InputStatistics(mean, std)


def test_statistics__channels_below_one_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        IMAGENET.for_channels(0)


def test_statistics__come_back_from_the_layer_as_they_were_written() -> None:
    layer = InputNormalization(IMAGENET)
    assert InputStatistics.of(layer.mean, layer.std) == IMAGENET


def test_normalization__of_a_model_in_half_precision_takes_white_16_bit_pixels() -> None:
    layer = InputNormalization(IMAGENET)
    white = torch.full((1, 3, 2, 2), 65535, dtype=torch.uint16)
    expected = layer(white)
    found = layer.half()(white)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), expected, rtol=2e-3, atol=2e-3)
