import pytest
import torch
from torch import Tensor, nn

from resvision.backbones import create_backbone
from resvision.layers import IMAGENET
from resvision.models import ResUNet
from tests.exporting import EXPORTS_ANY_SIZE
from tests.models.toy import ToyBackbone

SMALL = "resnet10t"  # the smallest that is registered


def _pictures(height: int, width: int, count: int = 2) -> Tensor:
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)


@pytest.fixture(scope="module")
def model() -> ResUNet:
    torch.manual_seed(0)
    return ResUNet(create_backbone(SMALL), 4).eval()


@pytest.mark.parametrize(("height", "width"), [(64, 96), (65, 97), (33, 47), (32, 32), (101, 32)])
def test_resunet__returns_the_size_of_the_pictures(model: ResUNet, height: int, width: int) -> None:
    assert model(_pictures(height, width)).shape == (2, 4, height, width)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 70), (40, 31)])
def test_resunet__continues_the_edge_of_pictures_below_the_backbones_stride(
    model: ResUNet, height: int, width: int
) -> None:
    pictures = _pictures(height, width)
    rows, columns = torch.arange(max(height, 32)), torch.arange(max(width, 32))
    larger = pictures[:, :, rows.clamp(max=height - 1)][:, :, :, columns.clamp(max=width - 1)]
    torch.testing.assert_close(model(pictures), model(larger)[:, :, :height, :width])


def test_resunet__sees_the_same_picture_in_every_type(model: ResUNet) -> None:
    pictures = _pictures(64, 64)
    logits = model(pictures)
    torch.testing.assert_close(model((pictures.int() * 257).to(torch.uint16)), logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model(pictures / 255), logits, rtol=1e-4, atol=1e-4)


def test_resunet__normalises_before_the_backbone() -> None:
    model = ResUNet(ToyBackbone(), 4, decoder_stride=2)
    seen: list[Tensor] = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(torch.full((2, 3, 8, 8), 51, dtype=torch.uint8))
    expected = [(0.2 - mean) / std for mean, std in zip(IMAGENET.mean, IMAGENET.std, strict=True)]
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_resunet__takes_other_numbers_of_channels() -> None:
    pictures = torch.randint(0, 2**16, (2, 5, 16, 16), dtype=torch.int32).to(torch.uint16)
    assert ResUNet(ToyBackbone(in_channels=5), 2, decoder_stride=2)(pictures).shape == (2, 2, 16, 16)


def test_resunet__trains_every_parameter_with_one_picture() -> None:
    model = ResUNet(create_backbone(SMALL), 4).train()
    model(_pictures(65, 96, count=1)).square().mean().backward()
    untouched = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert untouched == []


def test_resunet__keeps_channels_last() -> None:
    model = ResUNet(create_backbone(SMALL), 4).to(memory_format=torch.channels_last)
    formats: list[bool] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        formats.append(inputs[0].is_contiguous(memory_format=torch.channels_last))

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(note)
    logits = model(_pictures(64, 64).contiguous(memory_format=torch.channels_last))
    assert formats
    assert all(formats)
    assert logits.is_contiguous(memory_format=torch.channels_last)


@EXPORTS_ANY_SIZE
def test_resunet__is_exported_for_any_size(model: ResUNet) -> None:
    batch, height, width = torch.export.Dim("batch", min=1), torch.export.Dim.AUTO, torch.export.Dim.AUTO
    program = torch.export.export(model, (_pictures(64, 96),), dynamic_shapes=({0: batch, 2: height, 3: width},))
    pictures = _pictures(83, 71, count=3)
    torch.testing.assert_close(program.module()(pictures), model(pictures), rtol=1e-4, atol=1e-4)


def test_resunet__state_loads_into_another_one(model: ResUNet) -> None:
    other = ResUNet(create_backbone(SMALL), 4).eval()
    other.load_state_dict(model.state_dict())
    pictures = _pictures(40, 40)
    assert torch.equal(other(pictures), model(pictures))


@pytest.mark.parametrize(("stride", "blocks"), [(2, 4), (4, 3), (16, 1)])
def test_resunet__decodes_to_the_stride_that_is_asked_for(stride: int, blocks: int) -> None:
    model = ResUNet(create_backbone(SMALL), 4, decoder_stride=stride).eval()
    assert (model.decoder.stride, len(model.decoder.blocks)) == (stride, blocks)
    assert model(_pictures(33, 47)).shape == (2, 4, 33, 47)


def test_resunet__names_the_strides_that_the_decoder_can_end_at() -> None:
    with pytest.raises(ValueError, match="can end at stride 16 or 8 or 4 or 2, not at 3"):
        ResUNet(create_backbone(SMALL), 4, decoder_stride=3)
