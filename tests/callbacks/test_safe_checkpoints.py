"""A checkpoint is the whole new one or the whole one before, whatever happens while it is written."""

import errno
import fcntl
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from resvision.callbacks import SafeCheckpointIO, remove_orphans
from resvision.callbacks.safe_checkpoints import write_atomically

KILLS = Path(__file__).with_name("kill_while_saving.py")


def _save(path: Path, **content: Any) -> None:
    SafeCheckpointIO().save_checkpoint(content, path)


def _read(path: Path) -> Any:
    return torch.load(path, weights_only=True)


@pytest.fixture
def small_files() -> Iterator[None]:
    """Let no file grow beyond 64 KiB, which a process meets like a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_save__is_what_torch_loads(tmp_path: Path) -> None:
    path = tmp_path / "new" / "last.ckpt"
    weights = torch.arange(5.0)
    _save(path, weights=weights, step=3)
    read = _read(path)
    assert torch.equal(read["weights"], weights)
    assert read["step"] == 3
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_save__has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    _save(tmp_path / "last.ckpt")
    assert (tmp_path / "last.ckpt").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_save__needs_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    _save(tmp_path / "last.ckpt", step=1)
    assert _read(tmp_path / "last.ckpt") == {"step": 1}


@pytest.mark.usefixtures("small_files")
def test_save__full_disk_keeps_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    _save(path, step=1)
    with pytest.raises(OSError, match=r"last\.ckpt could not be written: .+; the one before it is untouched") as caught:
        _save(path, weights=torch.zeros(100_000))
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFBIG
    assert len(str(caught.value).splitlines()) == 1
    assert _read(path) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_save__folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"could not be written: .+ name another folder with --run_dir"):
        _save(tmp_path / "file" / "last.ckpt")


def test_save__stopped_half_way_leaves_nothing(tmp_path: Path) -> None:
    def stop(file: Any) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    _save(tmp_path / "last.ckpt", step=1)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "last.ckpt", stop)
    assert _read(tmp_path / "last.ckpt") == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_remove_orphans__takes_what_nobody_writes(tmp_path: Path) -> None:
    orphan, written, other = (tmp_path / f".{name}" for name in ("a.ckpt.saving-1", "b.ckpt.saving-2", "c.ckpt"))
    for path in (orphan, written, other):
        path.touch()
    with written.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert remove_orphans([tmp_path, tmp_path / "nowhere"]) == [orphan]
    assert sorted(tmp_path.iterdir()) == [written, other]
    assert remove_orphans([tmp_path]) == [written]


def test_save__removes_the_orphans_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / ".last.ckpt.saving-1").write_bytes(b"half")
    _save(tmp_path / "best.ckpt")
    assert [file.name for file in tmp_path.iterdir()] == ["best.ckpt"]


def test_trainer__saves_and_goes_on_through_it(tmp_path: Path) -> None:
    def trainer(epochs: int) -> Trainer:
        return Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            limit_train_batches=2,
            limit_val_batches=1,
            plugins=[SafeCheckpointIO()],
            default_root_dir=tmp_path / str(epochs),
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    trainer(1).fit(BoringModel())
    (path,) = (tmp_path / "1" / "checkpoints").iterdir()
    again = trainer(2)
    again.fit(BoringModel(), ckpt_path=path, weights_only=True)
    assert again.global_step == 4


def _kill(folder: Path, kills: int, size: int, seconds: float) -> dict[str, int]:
    command = [sys.executable, str(KILLS), str(folder), "--kills", str(kills), "--size", str(size)]
    # The system's temporary folder lies in memory: another file system than the checkpoints.
    environment = os.environ | ({"TMPDIR": "/dev/shm"} if Path("/dev/shm").is_dir() else {})
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=environment, check=True)
    counted: dict[str, int] = json.loads(done.stdout)
    return counted


@pytest.mark.parametrize(
    ("kills", "size"), [(20, 4), pytest.param(200, 32, marks=pytest.mark.slow)], ids=["short", "full"]
)
def test_save__survives_kill_9(tmp_path: Path, kills: int, size: int) -> None:
    counted = _kill(tmp_path, kills, size, seconds=300 if kills < 100 else 3000)
    assert (counted["broken"], counted["backward"], counted["left"]) == (0, 0, 0), counted
    assert counted["orphans"] > 0, "no kill met a save"
    assert counted["saves"] >= kills // 2, "every second kill waits for a save"
