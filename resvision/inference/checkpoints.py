"""Finding a checkpoint by what a person types, and reading it without trusting it."""

import pickle
import zipfile
from pathlib import Path
from typing import Any, Final, Literal

import torch

__all__ = ["ENTRY", "find_checkpoint", "read_checkpoint"]

#: Key of a checkpoint below which resvision keeps what it needs to rebuild the model: plain data only.
ENTRY: Final = "resvision"

Which = Literal["best", "last"]

# First bytes of what torch.save writes, a zip archive.
_ARCHIVE: Final = b"PK\x03\x04"


def find_checkpoint(given: str | Path, *, which: Which = "best", run: Path | None = None) -> Path:
    """Return the checkpoint file that a person means.

    Args:
        given: A file, a run folder, or the word `best` or `last` for one of the run `run`.
        which: Which one to take from a run folder.
        run: The run that `best` and `last` speak of; None if there is none.

    Raises:
        FileNotFoundError: If there is no such file; the message lists what there is.
    """
    if str(given) in ("best", "last") and not Path(given).exists():
        if run is None:
            raise FileNotFoundError(
                f"--ckpt_path {given} speaks of a run, and there is none yet; name a run folder or a checkpoint file"
            )
        return _in_folder(run, "best" if str(given) == "best" else "last")
    path = Path(given).expanduser()
    if path.is_dir():
        return _in_folder(path, which)
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {path}; give a run folder, a checkpoint file, best or last")
    return path


def _in_folder(folder: Path, which: Which) -> Path:
    for parent in (folder / "checkpoints", folder):
        if (parent / f"{which}.ckpt").is_file():
            return parent / f"{which}.ckpt"
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.ckpt"))
    there = f"it holds {', '.join(found[:5])}" if found else "it holds no checkpoint at all"
    raise FileNotFoundError(f"the folder {folder} has no checkpoints/{which}.ckpt; {there}")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint that this package wrote; nothing in it is executed.

    Returns:
        The whole checkpoint, tensors on the CPU.

    Raises:
        ValueError: If the file is empty, cut short, no checkpoint, holds more than tensors and plain data, or was
            not written by resvision.
    """
    if not path.stat().st_size:
        raise ValueError(f"the checkpoint {path} is empty; take another one, such as last.ckpt beside it")
    with path.open("rb") as file:
        if file.read(len(_ARCHIVE)) != _ARCHIVE:
            raise ValueError(f"{path} is not a checkpoint")
    other = (
        f"{path} is not a checkpoint of resvision; to start from plain weights, give the file as `weights` of the model"
    )
    if path.suffix == ".npz":  # an archive too
        raise ValueError(other)
    broken = f"the checkpoint {path} is broken or cut short; take another one, such as last.ckpt beside it"
    if not zipfile.is_zipfile(path):
        raise ValueError(broken)
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"the checkpoint {path} holds more than tensors and plain data, and is not opened: it could run code"
        ) from error
    except Exception as error:  # spoilt bytes make the reader raise almost anything
        raise ValueError(broken) from error
    if not _is_ours(checkpoint):
        raise ValueError(other)
    return checkpoint


def _is_ours(checkpoint: Any) -> bool:
    if not isinstance(checkpoint, dict) or not isinstance(said := checkpoint.get(ENTRY), dict):
        return False
    parts = (checkpoint.get("hyper_parameters"), checkpoint.get("state_dict"))
    named = isinstance(said.get("task"), str) and isinstance(said.get("class_names"), list)
    return named and all(isinstance(part, dict) for part in parts)
