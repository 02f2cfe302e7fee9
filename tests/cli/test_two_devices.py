"""Two processes by `--trainer.devices 2`: what they come to, and what they leave."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.processes import has_ended

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("plain_resvision.py")
CONFIG = {
    "model": {"class_path": "ClassificationTask", "init_args": {"backbone": "plain"}},
    "data": {
        "class_path": "Shapes",
        "init_args": {
            "task": "classification",
            "image_size": 32,
            "train_size": 8,
            "val_size": 5,
            "test_size": 1,
            "batch_size": 2,
            "num_workers": 0,
        },
    },
    "trainer": {"max_epochs": 2, "log_every_n_steps": 1, "enable_progress_bar": False, "accelerator": "cpu"},
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with a config."""
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    return tmp_path


def _fit(place: Path, *words: str, under: tuple[str, ...] = ()) -> tuple[int, str]:
    """Train; return the exit code and all that was said, once no process has anything more to say."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *under, str(SCRIPT), "fit", "--config", "mine.yaml", *words],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout


def _rows(run: Path) -> list[dict[str, float]]:
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def test_two_devices__have_the_curve_of_one_and_write_one_run(place: Path) -> None:
    for words in (["--run_dir", "alone"], ["--trainer.devices", "2", "--data.batch_size", "1"]):
        code, said = _fit(place, *words)
        assert code == 0, said
    # One process says it, at the start and at the end.
    assert said.splitlines().count("run folder runs/mine/1") == 2, said
    alone, together = _rows(place / "alone"), _rows(place / "runs" / "mine" / "1")
    assert sum("train/loss" in row for row in alone) == 8
    assert sum("val/accuracy" in row for row in alone) == 2
    assert [row.keys() for row in together] == [row.keys() for row in alone]
    for ours, theirs in zip(together, alone, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6, nan_ok=True)
    assert sorted(path.name for path in place.iterdir()) == ["alone", "mine.yaml", "runs"]
    assert [path.name for path in (place / "runs" / "mine").iterdir()] == ["1"]


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "--log-dir", "logs")


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("under", [(), TORCHRUN], ids=["alone", "torchrun"])
def test_process_that_is_killed__ends_the_other_with_a_message(under: tuple[str, ...], rank: int, place: Path) -> None:
    # Ten times as long as `torchrun` waits before it tells the other to end.
    settings = {"rank": rank, "batch": 2, "clearing": 1.0 if under else 0.0}
    die = [{"class_path": "tests.callbacks.signals.Die", "init_args": settings}]
    words = ["--trainer.devices", "2", "--data.batch_size", "1"]
    code, said = _fit(place, *words, "--trainer.callbacks", yaml.safe_dump(die, default_flow_style=True), under=under)
    # Lightning looks at the processes that it has started every 5 seconds; where it is the first to see the loss, it
    # says so and kills the others, which say nothing more.
    if not (rank == 1 and not under and "Forcefully terminating all other processes" in said):
        # The first process ends as the shell sees it: killed, or with its error.
        assert code == (-signal.SIGKILL if rank == 0 and not under else 1), said
        # A process that does not come to its next call to the other within seconds is ended by its watch.
        watched = re.search(
            r"process \d of this run (has ended|was ended by SIGKILL), so all end; see what it says", said
        )
        if under or not watched:
            assert "resvision fit: error: another process of this run has ended, so this one ends too" in said
            if rank == 1:
                assert "to go on: resvision fit --run_dir runs/mine/1 --resume auto" in said
    # `torchrun` ends with one of its own, which says which process was killed.
    assert "exitcode  : -9" in said if under else "Traceback" not in said
    processes = [int((place / f"process-{number}").read_text()) for number in range(2)]
    deadline = time.monotonic() + 30
    while not all(map(has_ended, processes)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert all(map(has_ended, processes)), said
