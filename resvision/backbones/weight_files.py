"""Read a file of weights into plain tensors. No format may run code while it is read."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

__all__ = ["SUFFIXES", "read_header", "read_state_dict"]

_PICKLED = (".pth", ".pt", ".th", ".ckpt", ".bin", ".tar")
SUFFIXES = (*_PICKLED, ".safetensors", ".npz")

# A training checkpoint keeps the weights beside other things, under one of these keys.
_WRAPPERS = ("state_dict", "model", "model_state_dict")


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read parameters by name.

    Args:
        path: A PyTorch file (read with `weights_only=True`), a safetensors file, or a NumPy archive (read
            without pickle). The weights may lie under the key `state_dict` or `model` of a training
            checkpoint.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The format is not known, the file is damaged or holds code, or there are no weights in it.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no file of weights at {path}; check the path, or name timm/<tag> or torchvision/<name>"
        )
    if path.suffix not in SUFFIXES:
        raise ValueError(f"cannot tell the format of {path}; weights end in {', '.join(SUFFIXES)}")
    try:
        content = _read(path)
    except Exception as error:  # damaged bytes make the readers raise almost anything
        raise ValueError(f"{path} {_reason(path, error)}") from error
    return _find_tensors(content, path)


def read_header(path: Path) -> dict[str, str]:
    """Return what a readable safetensors file says of itself; nothing for other formats."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, "pt") as file:
        return file.metadata() or {}


def _reason(path: Path, error: Exception) -> str:
    """Return why a file could not be read, and what to do."""
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file; fetch that with: git lfs pull"
    if start.lstrip().startswith(b"<"):
        return "is a web page, not the file; download that by a link of its own"
    if isinstance(error, pickle.UnpicklingError) or "allow_pickle" in str(error):
        return "holds something else than tensors, which could run code; save a plain state dict instead"
    return f"is damaged or cut short ({path.stat().st_size} bytes); fetch or copy it again"


def _read(path: Path) -> Any:
    if path.suffix == ".npz":
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        # Names of classes and the like may lie beside the weights.
        return {name: torch.from_numpy(array) for name, array in arrays.items() if array.dtype.kind in "biuf"}
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _find_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path} holds no weights: a dict of tensors was expected, by itself or under 'state_dict'")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
