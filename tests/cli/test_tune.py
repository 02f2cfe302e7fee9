import csv
from pathlib import Path

import pytest
from PIL import Image

from resvision.cli import main

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
