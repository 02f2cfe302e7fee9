"""Checkpoints that a crash cannot break."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, final

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

if sys.platform != "win32":  # where a file that is being written cannot be removed anyway
    import fcntl

__all__ = ["SafeCheckpointIO", "remove_orphans", "write_atomically"]

_MIDDLE = ".saving-"  # a temporary file is `.<name of the target>.saving-<pid>`


@final
class SafeCheckpointIO(TorchCheckpointIO):
    """Writes each checkpoint beside its target and puts it in place in one step.

    Whatever happens while it is written (a kill, a full disk, a power cut), the checkpoint of that name is the whole
    new one or the whole one before. Lightning writes through the system's temporary folder, which is a copy where
    that is another file system, never asks the disk to write, and holds a second copy of the checkpoint in memory
    (Lightning #19970). Here the tensors stream into the file.

    `Trainer(plugins=[SafeCheckpointIO()])`. Paths with a protocol, such as `s3://`, are left to Lightning. What a
    killed save leaves is removed by the next save into the same folder, or by `remove_orphans`.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises:
            OSError: It cannot be written; the message names the path, the reason and the mend.
        """
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_orphans([target.parent])
            write_atomically(target, lambda file: torch.save(checkpoint, file))
        except OSError as error:
            kept = "; the one before it is untouched" if target.exists() else ""
            raise OSError(
                f"the checkpoint {target} could not be written: {error.strerror or error}{kept}. "
                "Make room, or name another folder with --run_dir",
            ) from error


def write_atomically(target: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file that is there as a whole or not at all, also after a power cut.

    Args:
        target: The file; one of that name is replaced.
        write: Writes into the open file.

    Raises:
        OSError: It cannot be written. No part of it stays behind.
    """
    temporary = target.with_name(f".{target.name}{_MIDDLE}{os.getpid()}")
    watched = None
    try:
        with _locked(temporary) as file:
            watched = _Watched(file)
            write(watched)  # type: ignore[arg-type]  # all of a file that writing needs
            file.flush()
            os.fsync(file.fileno())
            if sys.platform != "win32":  # before the lock is gone, and with it the sign that the file is in use
                temporary.replace(target)
        if sys.platform == "win32":  # which renames no open file
            temporary.replace(target)
        _sync_folder(target.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if watched is not None and watched.error is not None and not isinstance(error, OSError):
            # torch reports a failed write as a RuntimeError without the reason.
            raise watched.error from error
        raise


def remove_orphans(folders: Iterable[Path]) -> list[Path]:
    """Remove what killed saves have left, but not what a living process is writing.

    Args:
        folders: Folders of checkpoints; those that are not there are passed over.

    Returns:
        The files that were removed.
    """
    removed = []
    for folder in folders:
        for path in folder.glob(f".*{_MIDDLE}*"):
            with contextlib.suppress(OSError):
                if _is_abandoned(path):
                    path.unlink()
                    removed.append(path)
    return removed


class _Watched:
    """A file that remembers why a write failed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file, locked for as long as this process lives and writes."""
    while True:
        with path.open("wb") as file:
            if sys.platform != "win32":
                with contextlib.suppress(OSError):  # some network file systems have no locks
                    fcntl.flock(file, fcntl.LOCK_EX)
            # Between its creation and its lock another process may have taken it for an orphan.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    yield file
                    return


def _is_abandoned(path: Path) -> bool:
    """Say whether nobody holds the lock. A process number would be another process's on another machine."""
    if sys.platform != "win32":
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
    return True


def _sync_folder(folder: Path) -> None:
    """Ask the disk to keep the new name too, where folders can be opened."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
