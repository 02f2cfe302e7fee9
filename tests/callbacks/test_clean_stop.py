"""A run that is told to stop saves between two steps, and says so by its exit code."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.demos.boring_classes import BoringModel

from resvision.callbacks import CleanStop, RunStopped
from tests.callbacks.signals import SendSignals


def _fit(folder: Path, send: SendSignals, *more: Callback, **settings: Any) -> Trainer:
    """Train 6 batches an epoch, for at most 2 epochs, with 3 batches of validation."""
    trainer = Trainer(
        accelerator="cpu",
        callbacks=[send, *more, CleanStop(folder / "last.ckpt")],
        limit_train_batches=6,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **({"max_epochs": 2, "limit_val_batches": 3} | settings),
    )
    trainer.fit(BoringModel())
    return trainer


def _stopped(folder: Path, send: SendSignals, **settings: Any) -> tuple[RunStopped, dict[str, Any]]:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    with pytest.raises(RunStopped) as caught:
        _fit(folder, send, **settings)
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == before
    return caught.value, torch.load(folder / "last.ckpt", weights_only=True)


def test_signals__are_those_of_before_after_a_whole_run(tmp_path: Path) -> None:
    signums = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(signum) for signum in signums]
    seen: list[bool] = []

    class Look(SendSignals):
        def on_train_batch_start(self, *_: Any) -> None:
            seen.append(all(signal.getsignal(signum) != known for signum, known in zip(signums, before, strict=True)))

    _fit(tmp_path, Look(0, []))
    assert seen == [True] * 12
    assert [signal.getsignal(signum) for signum in signums] == before


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGUSR1", 143), ("SIGINT", 130)])
def test_signal__saves_at_the_next_step(name: str, code: int, tmp_path: Path) -> None:
    stop, saved = _stopped(tmp_path, SendSignals(2, [name]))
    assert (stop.exit_code, stop.saved, stop.step) == (code, tmp_path / "last.ckpt", 2)
    assert saved["global_step"] == 2


@pytest.mark.parametrize(
    ("batch", "settings", "step"),
    [
        (1, {"accumulate_grad_batches": 3}, 1),
        (6, {}, 6),
        (6, {"limit_val_batches": 0}, 6),
        (4, {"accumulate_grad_batches": 4, "val_check_interval": 2}, 1),
        (5, {"accumulate_grad_batches": 4, "val_check_interval": 2}, 2),
    ],
)
def test_signal__waits_for_the_end_of_a_step(batch: int, settings: dict[str, Any], step: int, tmp_path: Path) -> None:
    _, saved = _stopped(tmp_path, SendSignals(batch, ["SIGTERM"]), **settings)
    assert saved["global_step"] == step
    # Gradients that were being accumulated would not be in the checkpoint.
    batches = saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["processed"]
    every = settings.get("accumulate_grad_batches", 1)
    assert batches % 6 % every == 0


class Judge(EarlyStopping):
    """Counts the epochs that it has seen."""

    def __init__(self) -> None:
        super().__init__("seen", strict=False)
        self.epochs = 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epochs += 1


def test_signal__at_the_end_of_an_epoch_lets_early_stopping_see_it(tmp_path: Path) -> None:
    judge = Judge()
    with pytest.raises(RunStopped) as caught:
        _fit(tmp_path, SendSignals(6, ["SIGTERM"]), judge, limit_val_batches=0)
    assert (caught.value.step, judge.epochs) == (6, 1)


def test_signal__in_the_last_validation_ends_a_run_that_is_done(tmp_path: Path) -> None:
    trainer = _fit(tmp_path, SendSignals(12, ["SIGTERM"]), limit_val_batches=0)
    assert trainer.global_step == 12


def test_signal__stops_a_validation(tmp_path: Path) -> None:
    stop, saved = _stopped(tmp_path, SendSignals(6, ["SIGTERM"], validating=True))
    assert (stop.exit_code, saved["global_step"]) == (143, 6)


def test_second_ctrl_c__stops_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):  # by which Lightning ends after a KeyboardInterrupt
        _fit(tmp_path, SendSignals(2, ["SIGINT", "SIGINT"]))
    assert not (tmp_path / "last.ckpt").exists()
    assert capsys.readouterr().err.count("Ctrl-C once more stops at once") == 1


def test_signal__before_the_first_step_saves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RunStopped) as caught:
        _fit(tmp_path, SendSignals(0, ["SIGTERM"], validating=True), num_sanity_val_steps=3)
    assert caught.value.saved is None
    assert not (tmp_path / "last.ckpt").exists()


def test_run__that_nobody_stops_ends_as_ever(tmp_path: Path) -> None:
    assert _fit(tmp_path, SendSignals(99, [])).global_step == 12
