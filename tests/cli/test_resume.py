"""A run that is stopped by a signal, or broken, and goes on by `--resume auto` as if nothing had been."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch
import yaml

from resvision import create_backbone
from resvision.cli import main

CONFIG = {
    "model": {"class_path": "SegmentationTask", "init_args": {"backbone": "resnet10t", "decoder_widths": [8, 8, 8]}},
    "data": {
        "class_path": "Shapes",
        "init_args": {"image_size": 32, "train_size": 8, "val_size": 3, "test_size": 2, "batch_size": 2},
    },
    "trainer": {"max_epochs": 2, "log_every_n_steps": 1, "enable_progress_bar": False, "accelerator": "cpu"},
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder; what `pytest` was called with is not what `resvision` was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["resvision"])
    Path("mine.yaml").write_text(yaml.safe_dump(CONFIG))


def _fit(*words: str) -> int:
    return main(["fit", *words])


def _stop(*signals: str, batch: int, validating: bool = False) -> list[str]:
    """Return the words that let a run send signals to itself."""
    settings = {"batch": batch, "signals": list(signals), "validating": validating}
    send = [{"class_path": "tests.callbacks.signals.SendSignals", "init_args": settings}]
    return ["--trainer.callbacks", yaml.safe_dump(send, default_flow_style=True)]


def _rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return sorted(({key: row[key] for key in sorted(row)} for row in rows), key=lambda row: sorted(row.items()))


def _weights(run: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return weights


def _assert_same(one: Path, other: Path) -> None:
    assert _rows(one) == _rows(other)
    ours, theirs = _weights(one), _weights(other)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_resume__goes_on_in_the_folder_as_if_the_run_had_not_been_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    run = Path("runs/mine/1")
    assert _fit("--config", "mine.yaml", "--run_dir", "whole") == 0
    # In the first epoch, in the validation after it, and in the second epoch.
    assert _fit("--config", "mine.yaml", "--resume", "auto", *_stop("SIGTERM", batch=3)) == 143
    shown = capsys.readouterr().out
    assert f"saved after step 3; to go on: resvision fit --run_dir {run} --resume auto" in shown
    assert _fit("--config", "mine.yaml", "--resume", "auto", *_stop("SIGUSR1", batch=1, validating=True)) == 143
    assert "after step 3" in capsys.readouterr().out
    assert _fit("--run_dir", str(run), "--resume", "auto", *_stop("SIGINT", batch=2)) == 130
    capsys.readouterr()
    assert _fit("--config", "mine.yaml", "--resume", "auto", "--trainer.callbacks", "null") == 0
    assert "after step 6" in capsys.readouterr().out
    _assert_same(run, Path("whole"))
    assert [path.name for path in Path("runs/mine").iterdir()] == ["1"]
    # Once more: there is nothing left to do.
    assert _fit("--config", "mine.yaml", "--resume", "auto") == 0
    _assert_same(run, Path("whole"))


def test_resume__that_is_refused_leaves_the_run_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    run = Path("runs/mine/1")
    assert _fit("--config", "mine.yaml", "--trainer.max_epochs", "1") == 0
    before = (run / "config.yaml").read_text()
    words = ["--config", "mine.yaml", "--resume", "auto"]
    capsys.readouterr()
    assert _fit(*words, "--model.backbone", "resnet18") == 2
    said = "resvision fit: error: the checkpoint has the backbone resnet10t, and this task resnet18; leave out"
    assert capsys.readouterr().err.startswith(said)
    assert (run / "config.yaml").read_text() == before
    assert _fit(*words, "--model.optimizer.lr", "0.5") == 0
    assert "lr: 0.5" in (run / "config.yaml").read_text()


@pytest.mark.parametrize("epochs", ["1", "2", "3"])  # fewer than there are, which Lightning refuses itself, or as many
def test_ckpt_path__of_a_run_that_is_done_leaves_no_run_that_others_would_go_on_from(
    epochs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _fit("--config", "mine.yaml", "--trainer.max_epochs", "3") == 0
    assert _fit("--config", "mine.yaml", "--ckpt_path", "last", "--trainer.max_epochs", epochs) == 2
    shown = capsys.readouterr()
    assert "nothing was trained, and what was in runs/mine/2 is removed" in shown.out
    assert "max_epochs" in shown.err
    assert [path.name for path in Path("runs/mine").iterdir()] == ["1"]


def test_resume__skips_a_broken_checkpoint_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    run = Path("runs/mine/1")
    assert _fit("--config", "mine.yaml", "--trainer.max_epochs", "1") == 0
    last, orphan = run / "checkpoints" / "last.ckpt", run / "checkpoints" / ".last.ckpt.saving-1"
    whole = last.read_bytes()
    last.write_bytes(whole[: len(whole) // 2])
    orphan.write_bytes(b"half")
    capsys.readouterr()
    assert _fit("--config", "mine.yaml", "--resume", "auto") == 0
    shown = capsys.readouterr().out
    assert f"skipped: the checkpoint {last} is broken" in shown
    assert f"run folder {run}, after step 4" in shown
    assert not orphan.exists()
    assert torch.load(last, weights_only=True)["global_step"] == 8


def test_resume__of_a_run_without_a_good_checkpoint_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = Path("run/checkpoints")
    checkpoints.mkdir(parents=True)
    (checkpoints / "last.ckpt").write_bytes(b"PK\x03\x04 broken")
    assert _fit("--config", "mine.yaml", "--run_dir", "run", "--resume", "auto") == 2
    said = capsys.readouterr()
    assert "no checkpoint of run can be read; to begin again, remove run/checkpoints" in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit", "--resume", "auto", "--ckpt_path", "last"], "it is not for --ckpt_path"),
        (["test", "--resume", "auto"], "goes on with a run of fit by itself"),
        (["fit", "--resume", "always"], "invalid choice: 'always'"),
        (["fit", "--resume", "auto"], "nothing says what"),
    ],
)
def test_resume__that_makes_no_sense_is_explained(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


def test_ckpt_path__together_with_weights_explains_both(capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({}, "old.pth")
    assert _fit("--config", "mine.yaml", "--ckpt_path", "old.pth", "--model.weights", "old.pth") == 2
    said = capsys.readouterr().err
    assert "--model.weights begins a new run from old weights, and --ckpt_path goes on with a run" in said


def test_ckpt_path__tells_what_comes_from_the_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model.decoder_stride", "4", "--model.optimizer", "SGD", "--model.optimizer.lr", "0.5"]
    assert _fit("--config", "mine.yaml", "--trainer.max_epochs", "1", *words) == 0
    capsys.readouterr()
    told = ["--model.losses", "{dice: 1.0}", "--model.optimizer", "SGD", "--model.optimizer.lr", "0.25"]
    assert _fit("--config", "mine.yaml", "--ckpt_path", "last", *told) == 0
    shown = capsys.readouterr().out
    assert "from runs/mine/1/checkpoints/last.ckpt: the weights, and where the training stands" in shown
    assert "\n  model.decoder_stride: 4" in shown
    for said in ("backbone", "decoder_widths", "losses"):
        assert f"model.{said}:" not in shown
    config = yaml.safe_load(Path("runs/mine/2/config.yaml").read_text())
    assert config["model"]["init_args"]["decoder_stride"] == 4
    assert config["model"]["init_args"]["losses"] == {"dice": 1.0}
    last = torch.load("runs/mine/2/checkpoints/last.ckpt", weights_only=True)
    assert last["optimizer_states"][0]["param_groups"][0]["initial_lr"] == 0.25


def _fit_until_the_loss_is_nan(*words: str) -> Path:
    """Return the folder of a run that kept the batch of its step 2."""
    spoil = [{"class_path": "tests.callbacks.test_finite_loss.Spoil", "init_args": {"number": 2}}]
    callbacks = ["--trainer.callbacks", yaml.safe_dump(spoil, default_flow_style=True)]
    assert _fit("--config", "mine.yaml", *callbacks, *words) == 1
    return Path("runs/mine/1")


def _keep_pixels(run: Path, image: torch.Tensor) -> None:
    """Put other pixels into the batch that a run has kept."""
    path = run / "nonfinite" / "batch.pt"
    torch.save(torch.load(path, weights_only=True) | {"image": image}, path)


def test_replay__looks_into_the_batch(capsys: pytest.CaptureFixture[str]) -> None:
    run = _fit_until_the_loss_is_nan()
    said = capsys.readouterr().err
    assert "the loss is nan at step 2 (epoch 0, batch 1), in the pictures" in said
    assert f"look into it: resvision replay {run}" in said
    assert "Traceback" not in said
    assert main(["replay", str(run)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"with the first weights of the run: the loss is \d+\.\d+$", shown, flags=re.MULTILINE)
    assert "nothing is wrong with the pictures" in shown
    _keep_pixels(run, torch.full((2, 3, 32, 32), torch.nan))
    assert main(["replay", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "the first result that is not finite is that of model." in shown
    assert "gradients that are not finite: " in shown


def test_replay__takes_16_bit_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    run = _fit_until_the_loss_is_nan()
    image = torch.full((2, 3, 32, 32), 300)
    image[0, 0, 0, 0] = 65535
    _keep_pixels(run, image.to(torch.uint16))
    capsys.readouterr()
    assert main(["replay", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "pixels: (2, 3, 32, 32), torch.uint16, from 300 to 65535\n" in shown
    assert "nothing is wrong with the pictures" in shown


def test_replay__freezes_what_was_frozen_in_the_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    backbone = create_backbone("resnet10t")
    torch.save(backbone.state_dict(), "weights.pth")
    run = _fit_until_the_loss_is_nan("--model.weights", "weights.pth", "--model.finetune", "gradual")
    _keep_pixels(run, torch.full((2, 3, 32, 32), torch.nan))
    report = run / "nonfinite" / "report.json"
    trained = []
    for epoch in (0, 9):
        report.write_text(json.dumps(json.loads(report.read_text()) | {"epoch": epoch}))
        assert main(["replay", str(run)]) == 0
        (count,) = re.findall(r"gradients that are not finite: \d+ of (\d+)", capsys.readouterr().out)
        trained.append(int(count))
    assert trained[1] - trained[0] == len(list(backbone.parameters()))


def test_replay__of_a_run_that_is_not_there_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "runs/nope/1"]) == 2
    assert "there is no run in runs/nope/1; give a run folder" in capsys.readouterr().err


def test_replay__of_a_run_that_went_well_has_nothing_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs/mine/1").mkdir(parents=True)
    Path("runs/mine/1/config.yaml").touch()
    assert main(["replay", "runs/mine/1"]) == 2
    assert "keeps no batch to replay" in capsys.readouterr().err
