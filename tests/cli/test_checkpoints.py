"""Checkpoints that a config asks for stand beside `best.ckpt` and `last.ckpt`."""

from pathlib import Path

import pytest
import torch
import yaml

from resvision.cli import main
from resvision.cli.origin import _class_path
from resvision.cli.request import Request
from tests.cli.test_resume import CONFIG


def test_checkpoints__of_a_config_leave_the_report_to_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["resvision"])
    Path("mine.yaml").write_text(yaml.safe_dump(CONFIG))
    name = "lightning.pytorch.callbacks.ModelCheckpoint"
    asked = [
        {"class_path": name, "init_args": {"monitor": "val/miou", "mode": "min", "filename": "worst"}},
        {"class_path": name, "init_args": {"every_n_epochs": 1, "filename": "{epoch}"}},
    ]
    callbacks = yaml.safe_dump(asked, default_flow_style=True)
    assert main(["fit", "--config", "mine.yaml", "--trainer.callbacks", callbacks, "--trainer.max_epochs", "4"]) == 0
    said = capsys.readouterr().out
    assert {"best.ckpt", "last.ckpt"} <= {path.name for path in Path("runs/mine/1/checkpoints").iterdir()}
    (worst,) = Path("runs/mine/1").rglob("worst.ckpt")
    epochs = [torch.load(path, weights_only=True)["epoch"] for path in (worst.parent / "best.ckpt", worst)]
    assert epochs[0] != epochs[1]
    reports = []
    for checkpoint in (worst.parent / "best.ckpt", worst):
        assert main(["validate", "--config", "mine.yaml", "--ckpt_path", str(checkpoint)]) == 0
        reports.append(capsys.readouterr().out.split("\n\n")[1])
    assert reports[0] in said
    assert reports[1] not in said


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ({"model": {"class_path": "mine.tasks.DepthTask"}}, "mine.tasks.DepthTask"),
        ({"model": {"class_path": "SegmentationTask"}}, "DepthTask"),
        ({"model": {"class_path": 3}}, "DepthTask"),
        ({"model": None}, "DepthTask"),
        ([], "DepthTask"),
    ],
)
def test_class_path__of_a_task_of_ones_own_is_that_of_the_config(
    tmp_path: Path, configs: object, expected: str
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(configs))
    assert _class_path("DepthTask", Request.parse(["--config", str(path)])) == expected
