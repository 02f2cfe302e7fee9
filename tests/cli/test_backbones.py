"""`resvision backbones`: what it prints, what it writes, and what it does without."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from PIL import Image
from torchvision.models import resnet18

import resvision
from resvision import create_backbone, list_backbones, load
from resvision.backbones import list_weights
from resvision.cli import main as command
from resvision.cli.backbones import main
from resvision.features import FeatureSpec
from resvision.tasks import SegmentationTask
from tests.backbones.test_resnet import PARAMETERS


def test_list__names_every_backbone_with_its_references(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("backbones", ["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list_backbones()
    row = next(line for line in lines if line.startswith("resnet50 "))
    assert row.split() == ["resnet50", "timm/resnet50,", "torchvision/resnet50", "arXiv:1512.03385"]


def test_list__stage_table_reads_like_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    main("backbones", ["list", "--pattern", "resnet152", "--stage-table"])
    row = capsys.readouterr().out.splitlines()[1]
    assert row.split() == ["resnet152", "bottleneck", "3-8-36-3", "64-128-256-512", "imagenet", "projection"]


def test_list__json_is_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    main("backbones", ["list", "--pattern", "resnet1[80]*", "--json"])
    entries = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in entries] == list_backbones("resnet1[80]*")
    assert entries[0]["layout"]["block"] == "bottleneck"


def test_list__a_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no backbone matches 'vgg\*'; there are .*resnet18"):
        main("backbones", ["list", "--pattern", "vgg*"])


def test_show__gives_the_papers_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """He et al. 2015, table 1: 1.8 and 3.8 billion; the stride on the 3x3 makes the second one 4.1."""
    for name, gmacs in (("resnet18", 1.8), ("resnet50", 4.1)):
        main("backbones", ["show", name, "--json"])
        shown = json.loads(capsys.readouterr().out)
        deepest = shown["features"][-1]["channels"]
        assert shown["parameters"] == PARAMETERS[name] - deepest * 1000 - 1000
        assert round(shown["gmacs"], 1) == gmacs
        assert [feature["side"] for feature in shown["features"]] == [112, 56, 28, 14, 7]
        assert sum(feature["parameters"] for feature in shown["features"]) == shown["parameters"]
        assert "torchvision/IMAGENET1K_V1" in shown["weights"]


def test_show__prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    main("backbones", ["show", "cifar_resnet20", "--size", "32"])
    out = capsys.readouterr().out
    assert "cifar_resnet20: 269,072 parameters, 0.04 GMACs at 32" in out
    assert "stage3   64        4       8" in out
    assert "weights: none published" in out


@pytest.mark.parametrize("size", ["-5", "0", "31"])
def test_show__refuses_a_picture_that_is_too_small(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["backbones", "show", "resnet10t", "--size", size]) == 2
    assert f"size must be a whole number of at least 32, got {size}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "forbidden"),
    [(["list"], ["torch", "numpy", "lightning"]), (["show", "resnet10t"], ["lightning", "torchmetrics"])],
)
def test_listing_and_showing__import_no_more_than_they_need(words: list[str], forbidden: list[str]) -> None:
    code = (
        f"import sys; from resvision.cli.backbones import main; main('backbones', {words}); "
        f"print([name for name in {forbidden} if name in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a checkpoint as a run leaves it, of a backbone that is no special case, and four pictures."""
    from lightning import Trainer

    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    task = SegmentationTask(class_names=["sky", "road"], backbone="resnet18")
    task.train()(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(folder / "checkpoints" / "best.ckpt", weights_only=True)
    (folder / "photos").mkdir()
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (50, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")
    return folder


@pytest.mark.parametrize("to", ["timm", "torchvision", "safetensors"])
def test_export__writes_a_file_that_loads_and_its_passport(to: str, run: Path, tmp_path: Path) -> None:
    suffix = ".pth" if to == "torchvision" else ".safetensors"
    file = tmp_path / f"out{suffix}"
    words = ["export", str(run), "--to", to, "--output", str(file), "--pictures", str(run / "photos")]
    assert main("backbones", words) == 0
    passport = json.loads((tmp_path / "out.passport.json").read_text())
    assert passport["largest_difference"] <= 1e-5
    assert passport["pictures"] == f"4 pictures of {run / 'photos'}"
    assert passport["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert passport["class_names"] == ["sky", "road"]
    assert passport["input_mean"] == [0.485, 0.456, 0.406]
    if to == "timm":
        timm.create_model("resnet18", num_classes=0, checkpoint_path=str(file))
    elif to == "torchvision":
        model = resnet18()
        model.fc = torch.nn.Identity()
        model.load_state_dict(torch.load(file, weights_only=True))


def test_export__compares_on_noise_where_there_are_no_pictures(run: Path, tmp_path: Path) -> None:
    main("backbones", ["export", str(run), "--to", "safetensors", "--output", str(tmp_path / "w.safetensors")])
    assert json.loads((tmp_path / "w.passport.json").read_text())["pictures"] == "8 noise pictures"


@pytest.mark.parametrize(
    ("data", "compared_on"),
    [
        (1, "8 noise pictures"),
        ("ImageFolder", "8 noise pictures"),
        ({"init_args": [1]}, "8 noise pictures"),
        ({"init_args": {"root": 5, "train": {"images": 7}}}, "8 noise pictures"),
        ({"init_args": {"root": "ROOT", "train": "photos"}}, "4 pictures of ROOT"),
        ({"init_args": {"root": "ROOT", "train": {"images": "photos"}}}, "4 pictures of ROOT/photos"),
    ],
)
def test_export__compares_on_the_pictures_that_the_config_of_the_run_names(
    data: Any, compared_on: str, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").symlink_to(run / "checkpoints")
    said = json.dumps({"data": data}).replace("ROOT", str(run))
    (tmp_path / "run" / "config.yaml").write_text(said, encoding="utf-8")
    words = ["export", str(tmp_path / "run"), "--to", "safetensors", "--output", str(tmp_path / "w.safetensors")]
    assert main("backbones", words) == 0
    passport = json.loads((tmp_path / "w.passport.json").read_text(encoding="utf-8"))
    assert passport["pictures"] == compared_on.replace("ROOT", str(run))


def test_export__makes_the_folder_of_its_file(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "deep" / "w.safetensors"
    assert command(["backbones", "export", str(run), "--to", "timm", "--output", str(file)]) == 0
    assert sorted(path.name for path in file.parent.iterdir()) == ["w.passport.json", "w.safetensors"]


@pytest.mark.parametrize(
    ("name", "reason"), [("folder.pth", "Is a directory"), ("file.txt/w.pth", "(Not a directory|File exists)")]
)
def test_export__names_a_file_that_cannot_be_written(
    name: str, reason: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "file.txt").touch()
    assert command(["backbones", "export", str(run), "--to", "timm", "--output", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert re.search(rf"{re.escape(name)} cannot be written: {reason}; name another path", said)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file.txt", "folder.pth"]


@pytest.fixture(scope="module")
def classifier_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a classifier as a person does, on pictures in folders."""
    folder = tmp_path_factory.mktemp("classifier")
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (50 + number, 60, 3), dtype=np.uint8)
        photo = folder / "photos" / ("cat", "dog")[number % 2] / f"{number}.png"
        photo.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(photo)
    words = "fit --model ClassificationTask --model.backbone resnet18 --data ImageFolder --data.image_size 64"
    options = "--data.batch_size 4 --trainer.max_epochs 1 --trainer.accelerator cpu"
    places = ["--data.root", str(folder / "photos"), "--run_dir", str(folder / "run")]
    assert command([*words.split(), *options.split(), *places]) == 0
    return folder / "run"


@pytest.mark.parametrize(
    ("to", "suffix"),
    [("torchvision", ".pth"), ("torchvision", ".safetensors"), ("timm", ".safetensors"), ("timm", ".pth")],
)
def test_export__of_a_trained_classifier_answers_there_as_it_did_here(
    to: str, suffix: str, classifier_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The passport's own line loads it; the pictures are those of the run."""
    file = tmp_path / f"out{suffix}"
    assert command(["backbones", "export", str(classifier_run), "--to", to, "--output", str(file)]) == 0
    passport = json.loads((tmp_path / "out.passport.json").read_text())
    assert passport["compared"] == "logits"
    assert passport["largest_difference"] <= 1e-5
    assert passport["pictures"] == f"6 pictures of {classifier_run.parent / 'photos'}"
    assert passport["class_names"] == ["cat", "dog"]
    monkeypatch.chdir(tmp_path)
    loaded: dict[str, Any] = {"timm": timm, "torch": torch, "torchvision": torchvision, "safetensors": safetensors}
    exec(passport["loads_with"], loaded)
    predictor = load(classifier_run, device="cpu")
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    mean, std = (torch.tensor(passport[f"input_{kind}"]).view(1, 3, 1, 1) for kind in ("mean", "std"))
    with torch.no_grad():
        expected = predictor.task(pixels)
        torch.testing.assert_close(loaded["model"].eval()((pixels / 255 - mean) / std), expected, rtol=0, atol=1e-5)


def test_export__to_safetensors_comes_back_with_its_statistics(
    classifier_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = torch.load(classifier_run / "checkpoints" / "best.ckpt", weights_only=True)
    checkpoint["state_dict"]["model.normalization.mean"].fill_(0.25)
    torch.save(checkpoint, tmp_path / "run.ckpt")
    monkeypatch.chdir(tmp_path)
    words = ["export", "run.ckpt", "--to", "safetensors", "--pictures", str(classifier_run.parent / "photos" / "cat")]
    assert main("backbones", words) == 0
    passport = json.loads(Path("resnet18_safetensors.passport.json").read_text())
    assert passport["pictures"].startswith("6 pictures of ")
    assert passport["largest_difference"] == 0
    loaded: dict[str, Any] = {"resvision": resvision}
    exec(passport["loads_with"], loaded)
    backbone = loaded["backbone"]
    assert backbone.input_statistics.mean == (0.25, 0.25, 0.25)
    trained = checkpoint["state_dict"]
    assert all(torch.equal(value, trained[f"model.backbone.{key}"]) for key, value in backbone.state_dict().items())


def test_export__wants_a_file_that_the_library_reads(classifier_run: Path, tmp_path: Path) -> None:
    words = ["export", str(classifier_run), "--to", "safetensors", "--output", str(tmp_path / "w.pth")]
    with pytest.raises(ValueError, match=r"--output must end in \.safetensors, got .*w\.pth"):
        main("backbones", words)


@pytest.mark.parametrize("name", [*list_backbones(), "timm/vit_tiny_patch16_224", "timm/convnext_atto"])
def test_show__knows_every_backbone(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main("backbones", ["show", name, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    with torch.device("meta"):
        backbone = create_backbone(name)
    assert shown["parameters"] == sum(parameter.numel() for parameter in backbone.parameters())
    assert {f["name"]: FeatureSpec(f["channels"], f["stride"]) for f in shown["features"]} == backbone.feature_specs
    assert shown["gmacs"] > 0
    known = [feature["parameters"] for feature in shown["features"] if feature["parameters"] is not None]
    assert sum(known) == (0 if name.startswith("timm/") else shown["parameters"])
    assert set(shown["weights"]) == set(list_weights(name))
