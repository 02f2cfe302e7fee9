"""Weights of other libraries, offline: a fake of the hub's layout, and words for when nothing can be fetched."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import GoogLeNet_Weights, ResNet18_Weights, googlenet, resnet18

from resvision import create_backbone
from resvision.backbones import list_weights
from resvision.layers import IMAGENET, InputNormalization
from resvision.tasks import SegmentationTask
from tests.backbones.oracles import Hostile, randomized


def fill_hub(folder: Path, repository: str, model: nn.Module) -> Path:
    """Lay a model out as the hub's client does: a named reference to a commit, and the commit's files."""
    root = folder / f"models--{repository.replace('/', '--')}"
    commit = "0" * 40
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    (root / "snapshots" / commit).mkdir(parents=True)
    save_file(model.state_dict(), root / "snapshots" / commit / "model.safetensors")
    return root / "snapshots" / commit


@pytest.fixture
def hub_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point torch's downloads at an empty folder."""
    folder = tmp_path / "hub"
    monkeypatch.setattr("torch.hub._hub_dir", str(folder))
    return folder


@pytest.fixture
def empty_caches(tmp_path: Path, hub_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point both libraries at empty caches, with no network behind them."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("torch.hub.urlopen", _no_network)
    return tmp_path


def _no_network(*_: object, **__: object) -> None:
    raise OSError("Network is unreachable")


def test_weights__timm_tag_loads_through_timm_with_its_statistics(empty_caches: Path) -> None:
    theirs = randomized(timm.create_model("resnet10t"))
    fill_hub(empty_caches, "timm/resnet10t.c3_in1k", theirs)
    ours = create_backbone("resnet10t", weights="timm/c3_in1k")
    for key, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[key])
    config = timm.get_pretrained_cfg("resnet10t.c3_in1k")
    assert config is not None
    assert (ours.input_statistics.mean, ours.input_statistics.std) == (config.mean, config.std)


def cached(hub_folder: Path, url: str, content: object) -> Path:
    """Put a file where torch looks before it fetches the URL."""
    file = hub_folder / "checkpoints" / Path(url).name
    file.parent.mkdir(parents=True)
    torch.save(content, file)
    return file


def test_weights__torchvision_name_loads_through_torchvision(empty_caches: Path, hub_folder: Path) -> None:
    theirs = randomized(resnet18())
    cached(hub_folder, ResNet18_Weights.IMAGENET1K_V1.url, theirs.state_dict())
    ours = create_backbone("resnet18", weights="torchvision/IMAGENET1K_V1")
    for key, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[key])
    assert ours.input_statistics == IMAGENET


def test_weights__torchvisions_googlenet_brings_the_statistics_that_it_turns_pictures_into(
    empty_caches: Path, hub_folder: Path
) -> None:
    """With its weights, torchvision's network undoes ImageNet's normalisation first; ours must not need to."""
    theirs = randomized(googlenet(init_weights=False))
    cached(hub_folder, GoogLeNet_Weights.IMAGENET1K_V1.url, theirs.state_dict())
    model = googlenet(weights="IMAGENET1K_V1").eval()
    ours = create_backbone("googlenet", weights="torchvision/IMAGENET1K_V1").eval()
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        features = ours(InputNormalization(ours.input_statistics)(pixels))
        logits = model.fc(features["stage4"].mean((2, 3)))
        torch.testing.assert_close(logits, model(InputNormalization(IMAGENET)(pixels)), rtol=0, atol=1e-4)


def test_weights__of_torchvision_that_hold_code_are_refused_and_never_run(
    empty_caches: Path, hub_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(empty_caches)
    cached(hub_folder, ResNet18_Weights.IMAGENET1K_V1.url, {"conv1.weight": Hostile()})
    with pytest.raises(
        ValueError, match="torchvision/IMAGENET1K_V1 holds something else than tensors, which could run"
    ):
        create_backbone("resnet18", weights="torchvision/IMAGENET1K_V1")
    assert not Path("hostile").exists()


@pytest.mark.parametrize("kind", ["pth", "safetensors", "npz", "timm", "torchvision", "hub", "url"])
def test_weights__of_every_kind_fit_grey_pictures(kind: str, empty_caches: Path, hub_folder: Path) -> None:
    theirs = randomized(timm.create_model("resnet18"))
    state = theirs.state_dict()
    source = str(empty_caches / f"w.{kind}")
    if kind == "pth":
        torch.save(state, source)
    elif kind == "safetensors":
        save_file(state, source)
    elif kind == "npz":
        np.savez(source, **{key: value.numpy() for key, value in state.items()})
    elif kind == "timm":
        fill_hub(empty_caches, "timm/resnet18.a1_in1k", theirs)
        source = "timm/a1_in1k"
    elif kind == "torchvision":
        cached(hub_folder, ResNet18_Weights.IMAGENET1K_V1.url, state)
        source = "torchvision/IMAGENET1K_V1"
    elif kind == "hub":
        fill_hub(empty_caches, "someone/birds", theirs)
        source = "hf-hub:someone/birds"
    else:
        _, digest = published(empty_caches, theirs)  # then laid where the message would have it
        file = cached(hub_folder, f"https://example.org/{digest[:16]}-birds.safetensors", None)
        (empty_caches / "published.safetensors").rename(file)
        source = f"https://example.org/birds.safetensors#sha256={digest}"
    grey = create_backbone("resnet18", in_channels=1, weights=source)
    expected = state["conv1.weight"].sum(1, keepdim=True)
    torch.testing.assert_close(grey.get_parameter("conv1.weight"), expected, rtol=0, atol=0)
    assert torch.equal(grey.get_parameter("layer4.1.bn2.weight"), state["layer4.1.bn2.weight"])
    assert grey.input_statistics == IMAGENET.for_channels(1)


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("timm/a1_in1k", r"model\.safetensors of https://huggingface\.co/timm/resnet18\.a1_in1k"),
        ("torchvision/IMAGENET1K_V1", r"https://download\.pytorch\.org/models/resnet18-f37072fd\.pth"),
    ],
)
def test_weights__offline_the_error_says_which_file_to_get(source: str, place: str, empty_caches: Path) -> None:
    words = f"cannot fetch {source}: .*Without a network, get {place} elsewhere, and pass the file's path as weights"
    with pytest.raises(FileNotFoundError, match=words):
        create_backbone("resnet18", weights=source)


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [
        ("resnet18", "timm/a1_in1", "timm has no weights 'a1_in1' for resnet18; did you mean 'a1_in1k'"),
        ("resnet18", "torchvision/V1", "torchvision has no weights 'V1' for resnet18; .*there are IMAGENET1K_V1"),
        ("resnet10t", "torchvision/V1", "torchvision has no model equal to resnet10t; pass the path of a file"),
    ],
)
def test_weights__an_unknown_name_is_an_error_with_the_known_ones(name: str, source: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        create_backbone(name, weights=source)


def test_weights__hub_repository_gives_weights_and_statistics(empty_caches: Path) -> None:
    theirs = randomized(timm.create_model("resnet10t"))
    folder = fill_hub(empty_caches, "someone/birds", theirs)
    (folder / "config.json").write_text('{"pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}}')
    ours = create_backbone("resnet10t", weights="hf-hub:someone/birds")
    for key, value in ours.state_dict().items():
        assert torch.equal(value, theirs.state_dict()[key])
    assert ours.input_statistics.mean == (0.1, 0.2, 0.3)


def test_weights__hub_repository_without_a_config_is_taken_to_be_imagenets(empty_caches: Path) -> None:
    fill_hub(empty_caches, "someone/birds", timm.create_model("resnet10t"))
    assert create_backbone("resnet10t", weights="hf-hub:someone/birds").input_statistics == IMAGENET


def test_weights__hub_repository_may_have_a_pytorch_file_alone(empty_caches: Path) -> None:
    theirs = timm.create_model("resnet10t")
    folder = fill_hub(empty_caches, "someone/birds", theirs)
    (folder / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), folder / "pytorch_model.bin")
    ours = create_backbone("resnet10t", weights="hf-hub:someone/birds")
    assert torch.equal(ours.state_dict()["conv1.0.weight"], theirs.state_dict()["conv1.0.weight"])


def test_weights__hub_offline_says_which_file_to_get(empty_caches: Path) -> None:
    words = r"cannot fetch hf-hub:a/b: .*get model\.safetensors of https://huggingface\.co/a/b elsewhere"
    with pytest.raises(FileNotFoundError, match=words):
        create_backbone("resnet10t", weights="hf-hub:a/b")


def published(folder: Path, model: nn.Module | None = None) -> tuple[str, str]:
    """Save weights, and return their URL and digest."""
    file = folder / "published.safetensors"
    save_file((model or timm.create_model("resnet10t")).state_dict(), file)
    return file.as_uri(), hashlib.sha256(file.read_bytes()).hexdigest()


def test_weights__url_is_fetched_once_and_known_by_its_hash(
    tmp_path: Path, hub_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, digest = published(tmp_path)
    first = create_backbone("resnet10t", weights=f"{url}#sha256={digest}")
    monkeypatch.setattr("torch.hub.urlopen", _no_network)
    second = create_backbone("resnet10t", weights=f"{url}#sha256={digest}")
    assert all(torch.equal(value, first.state_dict()[key]) for key, value in second.state_dict().items())


def test_weights__url_whose_hash_differs_is_refused_and_not_kept(tmp_path: Path, hub_folder: Path) -> None:
    url, _ = published(tmp_path)
    with pytest.raises(ValueError, match="is not the file that was asked for: invalid hash value"):
        create_backbone("resnet10t", weights=f"{url}#sha256={'0' * 64}")
    assert [path for path in hub_folder.rglob("*") if path.is_file()] == []


def test_weights__url_is_checked_again_when_its_file_comes_from_the_cache(tmp_path: Path, hub_folder: Path) -> None:
    url, digest = published(tmp_path)
    create_backbone("resnet10t", weights=f"{url}#sha256={digest}")
    (file,) = (hub_folder / "checkpoints").iterdir()
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(
        ValueError, match=f"{file.name} is not the file that was asked for: its sha256 is .*, not {digest}"
    ):
        create_backbone("resnet10t", weights=f"{url}#sha256={digest}")


def test_weights__url_needs_a_hash_and_a_known_format() -> None:
    with pytest.raises(ValueError, match="must end in '#sha256=' and 64 digits"):
        create_backbone("resnet10t", weights="https://example.org/w.pth")
    with pytest.raises(ValueError, match=r"cannot tell the format of https://example\.org/w\.h5"):
        create_backbone("resnet10t", weights=f"https://example.org/w.h5#sha256={'0' * 64}")


def test_weights__url_offline_says_which_file_to_get(empty_caches: Path) -> None:
    source = f"https://example.org/w.pth#sha256={'0' * 64}"
    words = (
        r"Network is unreachable.*get https://example\.org/w\.pth elsewhere, and pass the file's path as weights, "
        r"or put it at .*/hub/checkpoints/0{16}-w\.pth"
    )
    with pytest.raises(FileNotFoundError, match=words):
        create_backbone("resnet10t", weights=source)


def test_weights__a_checkpoint_says_the_statistics_that_its_model_normalised_with(tmp_path: Path) -> None:
    task = SegmentationTask(["a", "b"], backbone="resnet10t")
    task.model.normalization.mean.fill_(0.25)
    torch.save({"state_dict": task.state_dict()}, tmp_path / "run.ckpt")
    backbone = create_backbone("resnet10t", weights=str(tmp_path / "run.ckpt"))
    assert backbone.input_statistics.mean == (0.25, 0.25, 0.25)
    assert backbone.input_statistics.std == IMAGENET.std


def test_weights__a_hub_file_that_holds_code_is_refused_and_never_run(
    empty_caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(empty_caches)
    folder = fill_hub(empty_caches, "someone/birds", timm.create_model("resnet10t"))
    (folder / "model.safetensors").unlink()
    torch.save({"conv1.0.weight": Hostile()}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin holds something else than tensors, which could run code"):
        create_backbone("resnet10t", weights="hf-hub:someone/birds")
    assert not Path("hostile").exists()


def test_weights__nothing_is_fetched_unless_weights_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", _no_network)
    monkeypatch.setattr("socket.getaddrinfo", _no_network)
    with torch.device("meta"):
        for name in ("resnet18", "resnetv2_50", "googlenet", "resunet_encoder", "timm/test_vit"):
            create_backbone(name)
            list_weights(name)


def test_list_weights__names_what_both_libraries_publish() -> None:
    sources = list_weights("resnet50")
    assert {"timm/a1_in1k", "torchvision/IMAGENET1K_V1", "torchvision/IMAGENET1K_V2"} <= set(sources)
    assert list_weights("cifar_resnet20") == []


def test_weights__none_imports_neither_library() -> None:
    """In a process of its own, as this one has imported them for its oracles."""
    code = (
        "import sys; from resvision import create_backbone; create_backbone('resnet10t'); "
        "print([m for m in ('timm', 'torchvision', 'lightning', 'albumentations', 'torchmetrics') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
