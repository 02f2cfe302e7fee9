"""The rows of the tables that have no third-party reference: CIFAR ResNets and plain nets."""

import zipfile
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from resvision import create_backbone, list_backbones
from resvision.backbones.weight_files import read_state_dict
from resvision.layers import BasicBlock, InputNormalization, PlainBlock
from tests.shared_data import shared_data

# He et al. 2015, table 6, in millions; with the 10-class layer of 64 inputs.
TABLE_6 = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7, 1202: 19.4}


@pytest.mark.parametrize(("depth", "millions"), TABLE_6.items())
def test_cifar_resnet__has_the_parameters_of_table_6(depth: int, millions: float) -> None:
    with torch.device("meta"):
        backbone = create_backbone(f"cifar_resnet{depth}")
    parameters = sum(parameter.numel() for parameter in backbone.parameters()) + 64 * 10 + 10
    digits = 2 if millions < 1 else 1
    assert round(parameters / 1e6, digits) == millions


@pytest.mark.parametrize("name", list_backbones("cifar_*"))
def test_cifar_resnet__has_as_many_layers_as_its_name_says(name: str) -> None:
    with torch.device("meta"):
        backbone = create_backbone(name)
    convolutions = sum(isinstance(module, torch.nn.Conv2d) for module in backbone.modules())
    assert convolutions + 1 == int("".join(filter(str.isdigit, name)))


def test_cifar_resnet__shortcuts_of_option_a_pad_and_those_of_option_b_project() -> None:
    padded, projected = (create_backbone("cifar_resnet20", shortcut=kind) for kind in ("zero_pad", "projection"))
    block = padded.get_submodule("layer2.0")
    assert isinstance(block, BasicBlock)
    assert block.downsample is not None
    x = torch.randn(1, 16, 8, 8)
    shortcut = block.downsample(x)
    assert shortcut.shape == (1, 32, 4, 4)
    assert torch.equal(shortcut[:, 8:24], x[:, :, ::2, ::2])
    assert not shortcut[:, :8].any()
    assert not shortcut[:, 24:].any()
    extra = sum(p.numel() for p in projected.parameters()) - sum(p.numel() for p in padded.parameters())
    assert extra == (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)


@pytest.mark.parametrize(("plain", "residual"), [("plain34", "resnet34"), ("cifar_plain20", "cifar_resnet20")])
def test_plain__has_the_convolutions_of_its_twin_and_no_shortcut(plain: str, residual: str) -> None:
    without, other = create_backbone(plain), create_backbone(residual)
    assert sum(isinstance(module, PlainBlock) for module in without.modules()) > 0
    body = [key for key, _ in other.named_parameters() if "downsample" not in key]
    assert [key for key, _ in without.named_parameters()] == body
    block = without.get_submodule("layer1.0").eval()
    for parameter in block.parameters():
        torch.nn.init.zeros_(parameter)
    assert not block(torch.randn(1, block.get_parameter("conv1.weight").shape[1], 4, 4)).any()


def test_plain__has_no_branch_to_drop_and_no_shortcut_to_choose() -> None:
    with pytest.raises(ValueError, match=r"a plain network has no shortcuts; got shortcut=None, drop_path=0\.1"):
        create_backbone("plain18", drop_path=0.1)
    with pytest.raises(ValueError, match="a plain network has no shortcuts; got shortcut='zero_pad'"):
        create_backbone("cifar_plain20", shortcut="zero_pad")


@cache
def cifar_test_images() -> tuple[Tensor, Tensor]:
    """Return the 1,000 test images there are, (1000, 3, 32, 32) uint8, and their classes in the official order."""
    classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    images, labels = [], []
    with zipfile.ZipFile(shared_data("cifar10", "test_1000.zip")) as archive:
        for name in sorted(name for name in archive.namelist() if name.endswith(".webp")):
            with Image.open(BytesIO(archive.read(name))) as picture:
                images.append(np.array(picture.convert("RGB")))
            labels.append(classes.index(Path(name).parent.name))
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), torch.tensor(labels)


@pytest.mark.parametrize(
    ("depth", "file", "right"),
    [(20, "12fca82f", 915), (32, "d509ac18", 928), (44, "014dd654", 933), (56, "4bfd9763", 926)],
)
def test_cifar_resnet__published_checkpoints_reproduce_on_the_test_images(depth: int, file: str, right: int) -> None:
    """91.5, 92.8, 93.3 and 92.6 % of 1,000, to within one image. The one rename is the prefix `module.`."""
    weights = shared_data("weights", f"cifar10_resnet{depth}-{file}.th")
    images, labels = cifar_test_images()
    backbone = create_backbone(f"cifar_resnet{depth}", weights=str(weights)).eval()
    head = read_state_dict(weights)
    normalize = InputNormalization(backbone.input_statistics)
    with torch.no_grad():
        pooled = torch.cat([backbone(normalize(batch))["stage3"].mean((2, 3)) for batch in torch.split(images, 250)])
    scores = pooled @ head["module.linear.weight"].T + head["module.linear.bias"]
    assert abs(int((scores.argmax(1) == labels).sum()) - right) <= 1
