"""A study of two small members, from the command to the figure; its runs are called within this process."""

import contextlib
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import pytest
import yaml
from PIL import Image

from resvision.cli import main
from resvision.cli.study.plan import Study
from resvision.cli.study.runs import _Crew
from resvision.tasks import SegmentationTask

CONFIG = {
    "model": {"class_path": "ClassificationTask", "init_args": {"backbone": "resnet10t"}},
    "data": {
        "class_path": "Shapes",
        "init_args": {
            **{"task": "classification", "image_size": 32, "batch_size": 4},
            **{"train_size": 12, "val_size": 5, "test_size": 3},
        },
    },
    "trainer": {"max_epochs": 2, "log_every_n_steps": 1, "accelerator": "cpu", "enable_progress_bar": False},
}
STUDY = {
    "config": "mine.yaml",
    "seeds": [3],
    "members": {"slow": {"model.optimizer": "SGD", "model.optimizer.lr": 1e-5}, "fast": {}},
    "test": True,
    "paper": {"fast": 20.0},
}
PLACE = Path("studies/toy")
# Logs no accuracy, which its name does not tell.
OwnTask = SegmentationTask


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(crew: _Crew, words: Sequence[str], log: Path) -> tuple[int, float | None]:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            return main(words), 123.0

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["resvision"])
    monkeypatch.setattr(_Crew, "_call", call)
    Path("mine.yaml").write_text(yaml.safe_dump(CONFIG))
    Path("toy.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _losses(rows: list[dict[str, str]]) -> dict[str, str]:
    return {row["step"]: row["train/loss"] for row in rows if row["train/loss"]}


def test_study__goes_on_with_what_was_half_done_and_skips_what_is_finished(capsys: pytest.CaptureFixture[str]) -> None:
    # The first member was stopped in its second epoch.
    slow = Study.find("toy.yaml").runs([])[0]
    send = [{"class_path": "tests.callbacks.signals.SendSignals", "init_args": {"batch": 4, "signals": ["SIGTERM"]}}]
    stop = ["--run_dir", str(PLACE / slow.place), "--trainer.callbacks", yaml.safe_dump(send, default_flow_style=True)]
    assert main(["fit", *slow.words, *stop]) == 143
    stopped = _rows(PLACE / "slow/3/metrics.csv")
    capsys.readouterr()

    assert main(["study", "toy.yaml", "--trainer.callbacks", "null"]) == 0
    shown = capsys.readouterr().out
    assert "after step 4" in (PLACE / "slow/3.log").read_text()
    metrics = _rows(PLACE / "slow/3/metrics.csv")
    assert _losses(stopped).items() < _losses(metrics).items()

    # The table has what the runs have logged.
    first, second = _rows(PLACE / "toy.csv")
    known = ("slow", "3", "True", "6", "123")
    assert tuple(first[key] for key in ("member", "seed", "finished", "steps", "memory_mib")) == known
    accuracies = [float(row["val/accuracy"]) for row in metrics if row["val/accuracy"]]
    assert len(accuracies) == 2
    assert float(first["validation_error"]) == pytest.approx(100 * (1 - accuracies[-1]), abs=1e-3)
    assert float(first["best_validation_error"]) == pytest.approx(100 * (1 - max(accuracies)), abs=1e-3)
    training = [float(row["train/accuracy"]) for row in metrics if row["train/accuracy"]]
    assert len(training) == 6
    assert float(first["training_error"]) == pytest.approx(100 * (1 - fmean(training[-1:])), abs=1e-3)
    assert 0 <= float(second["test_error"]) <= 100
    assert (first["paper_error"], second["paper_error"]) == ("", "20.0")
    assert "\nslow       1" in shown

    # The figure shows it.
    with Image.open(PLACE / "toy.png") as picture:
        assert picture.size == (1200, 960)
    text = (PLACE / "toy.svg").read_text(encoding="utf-8")
    for words in (
        "training error (%)",
        "validation error (%)",
        "optimiser steps",
        "slow",
        "test error in the paper, fast: 20 %",
    ):
        assert f">{words}<" in text
    points = _rows(PLACE / "toy_points.csv")
    drawn = [float(row["mean"]) for row in points if (row["panel"], row["member"]) == ("validation error", "slow")]
    assert drawn == pytest.approx([100 * (1 - accuracy) for accuracy in accuracies])

    # Once more: nothing is trained, and the same is drawn.
    times = {path: path.stat().st_mtime_ns for path in PLACE.rglob("*.ckpt")}
    assert main(["study", "toy.yaml", "--trainer.callbacks", "null"]) == 0
    assert "2 of 2 runs are finished already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in PLACE.rglob("*.ckpt")} == times
    assert (PLACE / "toy.svg").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["toy.yaml", "--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["toy.yaml", "--trainer.max_epoch", "3"], "slow, seed 3: resvision fit: error: there is no setting"),
        (["none.yaml"], "there is no study 'none.yaml'"),
    ],
)
def test_study__that_cannot_be_followed_is_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "task"),
    [
        (["--model", "SegmentationTask"], "SegmentationTask"),
        (["--model.class_path=resvision.tasks.MultiTask"], "resvision.tasks.MultiTask"),
        (["--config", "det_shapes.yaml"], "DetectionTask"),
    ],
)
def test_study__of_another_task_is_refused_before_it_trains(
    words: list[str], task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "toy.yaml", *words]) == 2
    said = f"slow, seed 3: {task} logs no accuracy; a study compares classifiers by their errors\n"
    assert capsys.readouterr().err.endswith(said)
    assert not PLACE.exists()


def test_study__whose_first_run_logs_no_accuracy_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", f"{__name__}.OwnTask", "--data.task", "segmentation"]
    for _ in range(2):  # what is finished is refused too
        assert main(["study", "toy.yaml", *words]) == 2
        error = capsys.readouterr().err
        assert "slow, seed 3: the run in studies/toy/slow/3 logged neither train/accuracy nor val/accuracy; " in error
        assert "a study compares classifiers by their errors" in error
        assert error.count("\n") == 1
    assert not (PLACE / "toy.csv").exists()


def test_study__without_matplotlib_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["study", "toy.yaml"]) == 2
    assert "pip install 'resvision[figures]'" in capsys.readouterr().err
    assert not PLACE.exists()
