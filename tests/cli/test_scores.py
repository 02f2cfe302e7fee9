import csv
import json
import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from resvision.cli import main
from resvision.cli.scores import changed_splits, write_scores


def test_write_scores__makes_json_and_tables(tmp_path: Path) -> None:
    metrics = {"test/accuracy": 0.5, "test/iou/sky": math.nan, "test/loss": math.inf}
    files = write_scores(tmp_path, "test", Path("a.ckpt"), metrics, {"confusion": [["true", "sky"], ["sky", 3]]})
    assert files == [tmp_path / "test.json", tmp_path / "test_confusion.csv"]
    said = json.loads(files[0].read_text(encoding="utf-8"))
    assert said == {"checkpoint": "a.ckpt", "metrics": {"test/accuracy": 0.5, "test/iou/sky": None, "test/loss": None}}
    with files[1].open(encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["true", "sky"], ["sky", "3"]]


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"root": "a", "val_fraction": 0.2, "test_fraction": 0.0}, None),
        ({"root": "a", "val_fraction": 0.2, "test_fraction": 0.3}, "test_fraction 0.0, now 0.3"),
        ({"root": "a", "val_fraction": 0.1, "test_fraction": 0.3}, "val_fraction 0.2, now 0.1 and test_fraction"),
        ({"root": "b", "val_fraction": 0.1, "test_fraction": 0.3}, None),  # pictures of another place
        ({"root": "a"}, None),
    ],
)
def test_changed_splits__are_warned_of(tmp_path: Path, now: dict[str, object], said: str | None) -> None:
    before = {"root": "a", "val_fraction": 0.2, "test_fraction": 0.0}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"data": {"class_path": "ImageFolder", "init_args": before}}))
    warning = changed_splits(tmp_path, now)
    assert warning is None if said is None else said in (warning or "")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """Train for one epoch on two classes."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("ann", "bob"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(5):
            cv2.imwrite(f"pictures/{name}/{number}.png", rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    words = "fit --model ClassificationTask --model.backbone resnet10t --data ImageFolder --data.root pictures"
    options = "--data.image_size 32 --data.batch_size 4 --trainer.max_epochs 1 --run_dir mine"
    assert main([*words.split(), *options.split()]) == 0
    capsys.readouterr()
    return tmp_path / "mine"


def test_scores__of_a_run_for_reading_only_are_printed(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    access = os.access

    def for_reading(path: Path | str, mode: int) -> bool:  # Who is root may write everywhere.
        return access(path, mode) and not (path == Path("mine") and mode == os.W_OK)

    monkeypatch.setattr(os, "access", for_reading)
    assert main(["validate", "--ckpt_path", "mine"]) == 0
    shown = capsys.readouterr().out
    assert "the run folder mine cannot be written: the scores are only printed" in shown
    assert "accuracy" in shown
    assert "written to" not in shown
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_scores__of_pictures_that_may_have_been_trained_on_come_with_a_warning(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", "--ckpt_path", "mine", "--data.test_fraction", "0.4"]) == 0
    assert "warning: the run was trained with test_fraction 0.0, now 0.4: pictures" in capsys.readouterr().out
    assert main(["validate", "--ckpt_path", "mine"]) == 0
    assert "warning" not in capsys.readouterr().out


def test_scores__of_no_batch_are_an_error(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--ckpt_path", "mine", "--trainer.limit_val_batches", "0"]) == 2
    said = "resvision validate: error: nothing was scored: trainer.limit_val_batches leaves no batch\n"
    assert capsys.readouterr().err == said
    assert not (run / "validate.json").exists()
