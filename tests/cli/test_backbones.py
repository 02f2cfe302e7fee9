"""`resvision backbones`: what it prints, what it writes, and what it does without."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torchvision.models import resnet18

from resvision import list_backbones
from resvision.cli.backbones import main
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
