"""From the first config to the use of what was trained: fine-tuning, and faces."""

import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch
import yaml
from safetensors.torch import load_file

from resvision import create_backbone, load
from resvision.cli import main
from resvision.inference import EmbeddingResult
from resvision.tasks import ClassificationTask
from tests.data.box_folders import write_coco_set


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with pictures of four classes, and with weights."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("ann", "bob", "cem", "dan"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(5):
            picture = rng.integers(0, 256, (40 + number, 48, 3), dtype=np.uint8)
            assert cv2.imwrite(str(tmp_path / "pictures" / name / f"{number}.jpg"), picture)
    torch.save(create_backbone("resnet10t").state_dict(), "weights.pth")
    return tmp_path


def _config(path: Path, said: dict[str, object]) -> str:
    path.write_text(yaml.safe_dump(said), encoding="utf-8")
    return str(path)


def test_fine_tuning__is_used_from_end_to_end(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {
        "backbone": "resnet10t",
        "weights": "weights.pth",
        "finetune": {"preset": "gradual", "backbone_lr": 0.2},
        "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}},
    }
    data = {"root": "pictures", "image_size": 40, "batch_size": 4, "test_fraction": 0.2}
    callbacks = [
        {"class_path": "BatchAugmentation", "init_args": {"mixup": 0.2, "cutmix": 1.0, "random_erasing": 0.5}},
        {"class_path": "WeightEMA", "init_args": {"decay": 0.9}},
    ]
    config = _config(
        place / "mine.yaml",
        {
            "model": {"class_path": "ClassificationTask", "init_args": settings},
            "data": {"class_path": "ImageFolder", "init_args": data},
            "trainer": {"max_epochs": 2, "callbacks": callbacks, "enable_progress_bar": False},
        },
    )
    assert main(["fit", "--config", config]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^stage4 +3,673,088  from epoch 1 +0.002 ", shown, flags=re.MULTILINE)
    assert "calibration error scaled" in shown
    assert main(["fit", "--config", config, "--ckpt_path", "last", "--trainer.max_epochs", "3"]) == 0
    assert main(["test", "--ckpt_path", "runs/mine/2"]) == 0
    scores = json.loads(Path("runs/mine/2/test.json").read_text(encoding="utf-8"))["metrics"]
    assert {"test/calibration_error", "test/calibration_error_scaled"} <= set(scores)
    with Path("runs/mine/2/test_confusion.csv").open(encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["true class", "ann", "bob", "cem", "dan"]
    assert [(name, sum(map(int, counts))) for name, *counts in rows] == [(name, 1) for name in header[1:]]
    assert main(["predict", "--ckpt_path", "runs/mine/2", "--data", "pictures/ann", "--output", "out"]) == 0
    lines = Path("out/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 5
    assert main(["backbones", "export", "runs/mine/2", "--to", "timm", "--output", "trained.safetensors"]) == 0
    network = timm.create_model("resnet10t", num_classes=4)
    network.load_state_dict(load_file("trained.safetensors"))
    model = load("runs/mine/2", device="cpu").task.eval()
    assert isinstance(model, ClassificationTask)
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    mean, std = (torch.tensor(part)[:, None, None] for part in model.description()["input_statistics"].values())
    with torch.no_grad():
        theirs = network.eval()((pixels / 255 - mean) / std)
        torch.testing.assert_close(theirs, model(pixels), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close((theirs / model.temperature).softmax(1), model.probabilities(pixels))


def test_faces__are_verified_and_embedded(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = _config(
        place / "faces.yaml",
        {
            "model": {
                "class_path": "VerificationTask",
                "init_args": {"backbone": "resnet10t", "embedding_size": 16},
            },
            "data": {
                "class_path": "IdentityFolder",
                "init_args": {"root": "pictures", "val": ["c*", "dan"], "test": [], "image_size": 40, "batch_size": 4},
            },
            "trainer": {"max_epochs": 1, "enable_progress_bar": False},
        },
    )
    assert main(["fit", "--config", config]) == 0
    assert "true accept rate at a false accept rate of 0.01" in capsys.readouterr().out
    assert main(["validate", "--ckpt_path", "runs/faces/1"]) == 0
    assert main(["test", "--ckpt_path", "runs/faces/1"]) == 2
    assert "no identities are named for the split test; set test" in capsys.readouterr().err
    assert main(["predict", "--ckpt_path", "runs/faces/1", "--data", "pictures/ann", "--output", "out"]) == 0
    lines = [json.loads(line) for line in Path("out/predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [len(line["embedding"]) for line in lines] == [16] * 5
    predictor = load("runs/faces/1", device="cpu")
    first, second = (predictor.predict(f"pictures/ann/{number}.jpg") for number in (0, 1))
    assert isinstance(first, EmbeddingResult)
    assert isinstance(second, EmbeddingResult)
    assert first.embedding.tolist() == pytest.approx(lines[0]["embedding"], abs=1e-5)
    assert first.similarity(first) == pytest.approx(1.0)
    assert first.similarity(second) == pytest.approx(float(first.embedding @ second.embedding))
    assert first.same(second) == (first.similarity(second) >= first.threshold)


def test_detection__trains_goes_on_is_scored_and_predicts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_coco_set(place / "boxes")
    config = _config(
        place / "boxes.yaml",
        {
            "model": {
                "class_path": "DetectionTask",
                "init_args": {"backbone": "resnet10t", "channels": 32, "weights": "weights.pth", "finetune": "full"},
            },
            "data": {"class_path": "CocoDetection", "init_args": {"root": "boxes", "image_size": 64, "batch_size": 2}},
            "trainer": {"max_epochs": 1, "enable_progress_bar": False},
        },
    )
    assert main(["fit", "--config", config]) == 0
    assert main(["fit", "--config", config, "--ckpt_path", "last", "--trainer.max_epochs", "2"]) == 0
    assert "pyramid" in capsys.readouterr().out
    assert main(["validate", "--ckpt_path", "runs/boxes/2"]) == 0
    scores = json.loads(Path("runs/boxes/2/validate.json").read_text(encoding="utf-8"))["metrics"]
    assert {"val/map", "val/map_50", "val/map_small", "val/ap/cat", "val/loss"} <= set(scores)
    assert main(["test", "--ckpt_path", "runs/boxes/2"]) == 2
    assert "has no test split" in capsys.readouterr().err
    words = ["--data", "boxes/images/train", "--annotations", "boxes/annotations/none.json", "--output", "out"]
    assert main(["predict", "--ckpt_path", "runs/boxes/2", *words]) == 2
    assert not Path("out").exists()
    words = ["--data", "boxes/images/train", "--annotations", "boxes/annotations/train.json", "--score", "0"]
    assert main(["predict", "--ckpt_path", "runs/boxes/2", *words, "--output", "out"]) == 0
    entries = json.loads(Path("out/coco_results.json").read_text(encoding="utf-8"))
    assert {entry["image_id"] for entry in entries} <= {10, 20, 30}
    assert {entry["category_id"] for entry in entries} <= {3, 17}
    lines = [json.loads(line) for line in Path("out/predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sum(len(line["objects"]) for line in lines) == len(entries) > 0
    assert main(["backbones", "export", "runs/boxes/2", "--to", "timm", "--output", "trained.safetensors"]) == 0
    assert load("runs/boxes/2").task.hparams["input_size"] == 64
    capsys.readouterr()
    assert main(["fit", "--config", config, "--model.max_detections", "1", "--trainer.fast_dev_run", "true"]) == 0
    assert (
        "a picture of train has 2 objects, and at most 1 are found in one: "
        "give --model.max_detections 2 or more to find all"
    ) in capsys.readouterr().out
