"""Folders for what a command writes: numbered ones that never collide, or the one that a person names."""

import contextlib
import shutil
from pathlib import Path
from typing import Final

__all__ = ["RUNS", "discard", "new_folder", "newest_run"]

#: Where runs are kept, below the folder in which the command is called.
RUNS = Path("runs")

#: What a run has before its first step: the config, a table without rows, curves without points, and the best
#: checkpoint of the run that it continues.
_BEGINNING: Final = ("config.yaml", "metrics.csv", "tensorboard/*", "checkpoints/best.ckpt")


def new_folder(parent: Path, named: Path | None, option: str) -> Path:
    """Create an empty folder; two commands that start at the same moment get two.

    Args:
        parent: Where to create the next number, `<parent>/<n>/`.
        named: The folder that the user asked for instead; it may be there already if it is empty.
        option: The option by which a folder can be named, for the errors.

    Raises:
        ValueError: If the named folder holds something already.
        OSError: If the folder cannot be written.
    """
    try:
        folder = _numbered(parent) if named is None else named
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ValueError(f"{option} {folder} is not empty; name another folder, or leave {option} out")
        # Some mounts let a folder be made and refuse what goes into it.
        (folder / ".probe").touch()
        (folder / ".probe").unlink()
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"the folder {named or parent} cannot be written: {reason}; name another: {option}") from error
    return folder


def discard(folder: Path, named: Path | None) -> bool:
    """Remove a folder of `new_folder` in which nothing has come about, and the empty folders around it.

    Args:
        folder: It may hold what a run begins with.
        named: The folder that the user asked for; it is emptied, and stays.

    Returns:
        Whether there was nothing else in it.
    """
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    if not all(any(file.match(pattern) for pattern in _BEGINNING) for file in files):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    if named is not None:
        named.mkdir(parents=True, exist_ok=True)
        return True
    with contextlib.suppress(OSError):  # what else is there stays
        folder.parent.rmdir()
        folder.parent.parent.rmdir()
    return True


def newest_run(name: str) -> Path | None:
    """Return the run of this config with the highest number, None if there is none yet.

    One that has a checkpoint counts before one that has none, which may be just beginning.
    """
    runs = [RUNS / name / str(number) for number in sorted(_numbers(RUNS / name))]
    begun = [run for run in runs if any((run / "checkpoints").glob("*.ckpt"))]
    runs = begun or runs
    return runs[-1] if runs else None


def _numbered(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    number = max(_numbers(parent), default=0)
    while True:
        number += 1
        try:
            (parent / str(number)).mkdir()
        except FileExistsError:
            continue
        return parent / str(number)


def _numbers(parent: Path) -> list[int]:
    if not parent.is_dir():
        return []
    return [int(path.name) for path in parent.iterdir() if path.name.isdecimal() and path.is_dir()]
