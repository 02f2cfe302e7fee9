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
    named = backbone.named_modules()
    convolutions = sum(isinstance(part, torch.nn.Conv2d) and "downsample" not in key for key, part in named)
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


def test_cifar_resnet__shortcuts_of_option_c_project_in_every_block() -> None:
    some, every = (create_backbone("cifar_resnet20", shortcut=kind) for kind in ("projection", "projections"))
    blocks = [block for block in every.modules() if isinstance(block, BasicBlock)]
    assert len(blocks) == 9
    for block in blocks:
        assert isinstance(block.downsample, torch.nn.Sequential)
    extra = sum(p.numel() for p in every.parameters()) - sum(p.numel() for p in some.parameters())
    assert extra == 3 * (16 * 16 + 2 * 16) + 2 * (32 * 32 + 2 * 32) + 2 * (64 * 64 + 2 * 64)
    # Where the additional projections are the identity, it is option B.
    every.load_state_dict(some.state_dict(), strict=False)
    for key, value in every.state_dict().items():
        if key not in some.state_dict() and key.endswith("0.weight"):
            torch.nn.init.dirac_(value)
        elif key not in some.state_dict() and key.endswith("1.weight"):
            value.fill_((1 + 1e-5) ** 0.5)  # the norm divides by the root of its variance, 1, and epsilon
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(every.eval()(images)["stage3"], some.eval()(images)["stage3"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["cifar_resnet20", "cifar_preresnet20", "cifar_plain20", "resnet50"])
def test_norm__of_none_is_nothing(name: str) -> None:
    backbone = create_backbone(name, norm="none", zero_init_residual=False).double().train()
    assert {parameter.ndim for parameter in backbone.parameters()} == {4}
    images = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        features = backbone(images)
        # Without norms and biases twice the picture is twice the map.
        for key, value in backbone.eval()(2 * images).items():
            torch.testing.assert_close(value, 2 * features[key], rtol=1e-10, atol=0)


def test_norm__of_none_begins_as_its_shortcuts_by_the_last_convolutions() -> None:
    block = create_backbone("cifar_resnet20", norm="none").get_submodule("layer1.0")
    x = torch.randn(1, 16, 8, 8)
    assert torch.equal(block(x), x.relu())
    unit = create_backbone("cifar_preresnet20", norm="none").get_submodule("stages.0.blocks.0")
    before = x.clone()
    assert torch.equal(unit(x), before)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", ["cifar_resnet20", "cifar_plain20"])
def test_activation__is_everywhere_the_one_that_is_asked_for(name: str) -> None:
    backbone = create_backbone(name, activation="sigmoid", zero_init_residual=False).eval()
    assert not any(isinstance(module, torch.nn.ReLU) for module in backbone.modules())
    block, x = backbone.get_submodule("layer1.0"), torch.randn(1, 16, 8, 8)
    first = block.get_submodule("bn1")(block.get_submodule("conv1")(x)).sigmoid()
    second = block.get_submodule("bn2")(block.get_submodule("conv2")(first))
    expected = (second + x if isinstance(block, BasicBlock) else second).sigmoid()
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("name", ["resnet18d", "resnet10t", "resnetrs50"])
def test_activation__is_that_of_the_stem_as_well(name: str) -> None:
    backbone = create_backbone(name, activation="sigmoid")
    left = {path for path, module in backbone.named_modules() if isinstance(module, torch.nn.ReLU)}
    assert all(".se." in path for path in left)  # attention has its own


def test_recompute__changes_no_gradient_and_counts_batches_twice() -> None:
    usual, spare = (create_backbone("cifar_resnet20", recompute=flag).double().train() for flag in (False, True))
    spare.load_state_dict(usual.state_dict())
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    for backbone in (usual, spare):
        backbone(images)["stage3"].square().sum().backward()
    for parameter, other in zip(usual.parameters(), spare.parameters(), strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-10, atol=1e-12)
    counts = {int(value) for key, value in spare.state_dict().items() if key.endswith("num_batches_tracked")}
    assert counts == {1, 2}


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
