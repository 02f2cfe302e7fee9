import csv
from pathlib import Path

import pytest
from PIL import Image

from resvision.callbacks import LearningRateRange
from resvision.cli import main
from resvision.cli.tune import TuneCLI

CONFIG = str(Path(__file__).parents[1] / "conf" / "cls_shapes.yaml")


def test_tune__prints_a_learning_rate_and_keeps_a_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["tune", "--config", CONFIG, "--steps", "20", "--data.train_size", "12"]) == 0
    shown = capsys.readouterr().out
    folder = Path("tunings/cls_shapes/1")
    with (folder / "learning_rates.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rates = [float(row["learning_rate"]) for row in rows]
    assert 10 < len(rows) <= 20
    assert rates == sorted(rates)
    (said,) = (line for line in shown.splitlines() if line.startswith("to use it: --model.optimizer.init_args.lr "))
    assert any(f"{rate:.2g}" == said.split()[-1] for rate in rates)
    with Image.open(folder / "learning_rates.png") as picture:
        assert picture.size == (800, 500)
    assert not Path("runs").exists()


def test_tune__finds_no_batch_size_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["tune", "--find", "batch_size", "--config", CONFIG, "--trainer.accelerator", "cpu"]) == 2
    assert "by filling the memory of a GPU, and this run is on a CPU" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--ckpt_path", "last"], ["--resume", "auto"]])
def test_tune__begins_from_no_checkpoint(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "--config", CONFIG, *words]) == 2
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert line.endswith("give the pretrained weights to begin from by --model.weights")
    assert not shown.out


def test_tune__wants_enough_steps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "--config", CONFIG, "--steps", "9"]) == 2
    assert capsys.readouterr().err == "resvision tune: error: --steps must be at least 10, got 9\n"


def test_tune__writes_into_its_folder_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    callbacks = ["--trainer.callbacks", "[{class_path: GradientFlow}]"]
    assert main(["tune", "--config", CONFIG, "--steps", "10", *callbacks]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["tunings"]
    assert Path("tunings/cls_shapes/1/gradient_flow.csv").is_file()


def test_tune__refuses_a_folder_before_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(TuneCLI, "fit", lambda *_, **__: pytest.fail("searched first"))
    (tmp_path / "mine").touch()
    assert main(["tune", "--config", CONFIG, "--run_dir", str(tmp_path)]) == 2
    assert f"--run_dir {tmp_path} is not empty" in capsys.readouterr().err


def test_tune__where_the_loss_falls_nowhere_keeps_what_there_is_to_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LearningRateRange, "suggestion", _no_suggestion)
    assert main(["tune", "--config", CONFIG, "--steps", "10"]) == 2
    plot = Path("tunings/cls_shapes/1/learning_rates.png")
    assert f"error: the loss fell at no learning rate; the losses are drawn in {plot}" in capsys.readouterr().err
    with Image.open(plot) as picture:
        assert picture.size == (800, 500)
    assert plot.with_suffix(".csv").is_file()


def _no_suggestion(_: LearningRateRange) -> float:
    raise ValueError("the loss fell at no learning rate")
