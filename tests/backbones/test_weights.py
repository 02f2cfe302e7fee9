import csv
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor

from resvision import create_backbone
from resvision.backbones.weights import adapt_input_convolution, load_strictly
from resvision.layers import IMAGENET, InputNormalization
from tests.backbones.oracles import assert_same_features, timm_features, timm_model
from tests.shared_data import shared_data


def test_load_strictly__ignores_a_head_and_nothing_else() -> None:
    state = timm_model("resnet18").state_dict()
    assert "fc.weight" in state
    load_strictly(create_backbone("resnet18"), state, source="timm")
    state["surprise.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"elsewhere: 1 unexpected: surprise\.weight"):
        load_strictly(create_backbone("resnet18"), state, source="timm")


def test_load_strictly__lists_a_mismatch_by_stage() -> None:
    state = timm_model("resnet18").state_dict()
    del state["bn1.bias"]
    state["layer2.0.conv1.weight"] = torch.zeros(1, 2, 3, 3)
    for block in range(4):
        state[f"layer4.{block}.extra"] = torch.zeros(1)
    with pytest.raises(ValueError, match="another network") as caught:
        load_strictly(create_backbone("resnet18"), state, source="some.pth")
    assert str(caught.value).splitlines() == [
        "some.pth holds the weights of another network:",
        "  stem: 1 missing: bn1.bias",
        "  stage2: 1 wrong shape: layer2.0.conv1.weight (1, 2, 3, 3), not (128, 64, 3, 3)",
        "  stage4: 4 unexpected: layer4.0.extra, layer4.1.extra, layer4.2.extra, ...",
    ]


def test_load_strictly__a_mismatch_changes_nothing() -> None:
    backbone = create_backbone("resnet18")
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    with pytest.raises(ValueError, match="stage1: 10 missing"):
        load_strictly(backbone, timm_model("resnet10t").state_dict(), source="timm")
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "backbone.", "model.backbone."])
def test_load_strictly__finds_the_backbone_inside_a_larger_model(prefix: str) -> None:
    first, second = create_backbone("resnet10t"), create_backbone("resnet10t")
    state = {prefix + key: value for key, value in first.state_dict().items()}
    if "backbone" in prefix:
        state["model.decoder.weight"] = torch.zeros(1)
    load_strictly(second, state, source="run")
    assert all(torch.equal(value, first.state_dict()[key]) for key, value in second.state_dict().items())


def test_load_strictly__old_files_without_batch_counters_load() -> None:
    state = timm_model("resnet18").state_dict()
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    load_strictly(create_backbone("resnet18"), old, source="old.pth")


@pytest.mark.parametrize("in_channels", [1, 2, 4])
def test_load_strictly__other_channels_equal_timm(in_channels: int, tmp_path: Path) -> None:
    """timm adapts the first convolution itself when it loads a file of three-channel weights."""
    file = tmp_path / "rgb.pth"
    torch.save(timm_model("resnet18").state_dict(), file)
    model = timm.create_model(
        "resnet18", pretrained=True, pretrained_cfg_overlay={"file": str(file)}, in_chans=in_channels
    ).eval()
    ours = create_backbone("resnet18", in_channels=in_channels, weights=str(file)).eval()
    images = torch.randn(1, in_channels, 64, 64)
    with torch.no_grad():
        assert_same_features(ours, images, timm_features(model, images), atol=1e-5)
    assert ours.input_statistics == IMAGENET.for_channels(in_channels)


def test_adapt_input_convolution__by_hand() -> None:
    weight = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    assert adapt_input_convolution(weight, 1).flatten().tolist() == [6]
    assert adapt_input_convolution(weight, 2).flatten().tolist() == [1.5, 3]
    assert adapt_input_convolution(weight, 4).flatten().tolist() == [0.75, 1.5, 2.25, 0.75]


def load_crop(path: Path) -> Tensor:
    """Resize the shorter side to 256 and cut out the central 224x224, with Pillow, as the weights' page says."""
    with Image.open(path) as picture:
        width, height = picture.size
        scale = 256 / min(width, height)
        resized = picture.convert("RGB").resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    left, top = (resized.width - 224) // 2, (resized.height - 224) // 2
    return torch.from_numpy(np.array(resized.crop((left, top, left + 224, top + 224)))).permute(2, 0, 1)


@pytest.mark.parametrize(("name", "right"), [("resnet18", 192), pytest.param("resnet50", 213, marks=pytest.mark.slow)])
def test_load_weights__of_the_shared_archives_classify_the_sample_photos(name: str, right: int) -> None:
    """250 photos: 76.8 % is 192 of them, 85.2 % is 213."""
    weights = shared_data("weights", f"{name}_pqf_in1k.npz")
    photos = shared_data("imagenet_samples")
    backbone = create_backbone(name, weights=str(weights)).eval()
    normalize = InputNormalization(backbone.input_statistics)
    with np.load(weights) as archive:
        weight, bias = torch.from_numpy(archive["fc.weight"]), torch.from_numpy(archive["fc.bias"])
    with (photos / "labels.csv").open() as file:
        labels = [(row[0], int(row[1])) for row in csv.reader(file) if row[1].isdigit()]
    assert len(labels) == 250
    hits = 0
    with torch.no_grad():
        for start in range(0, 250, 25):
            batch = labels[start : start + 25]
            images = torch.stack([load_crop(photos / name) for name, _ in batch])
            scores = backbone(normalize(images))["stage4"].mean((2, 3)) @ weight.T + bias
            hits += int((scores.argmax(1) == torch.tensor([label for _, label in batch])).sum())
    assert abs(hits - right) <= 1


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_load_weights__of_the_shared_archives_are_strict(name: str) -> None:
    weights = shared_data("weights", f"{name}_pqf_in1k.npz")
    backbone = create_backbone(name, weights=str(weights))
    with np.load(weights) as archive:
        assert set(archive.files) - {"fc.weight", "fc.bias"} == set(backbone.state_dict())
        for key, value in backbone.state_dict().items():
            np.testing.assert_array_equal(value.numpy(), archive[key])
    other = "resnet50" if name == "resnet18" else "resnet34"
    with pytest.raises(ValueError, match="holds the weights of another network:\n  stage1"):
        create_backbone(other, weights=str(weights))
