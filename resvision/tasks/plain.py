"""Plain data: what a checkpoint may hold to be opened without running code."""

import inspect
import os
from collections.abc import MutableMapping
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule

__all__ = ["make_openable", "plain"]


def make_openable(checkpoint: dict[str, Any], task: type[LightningModule]) -> None:
    """Leave in a checkpoint the settings that its task asks for, and plain data.

    Args:
        checkpoint: What Lightning is about to save; changed in place.
        task: Class of the task.
    """
    # The command line notes what it hands to any task, also where this one does not ask for it.
    asked = inspect.signature(task.__init__).parameters
    settings = checkpoint[task.CHECKPOINT_HYPER_PARAMS_KEY]
    for name in [name for name in settings if name not in asked and name[0] != "_"]:
        del settings[name]
    # Numbers of NumPy and paths, in the settings as in the state of an optimiser, would keep it from being opened.
    for part in checkpoint.keys() - {"state_dict"}:
        checkpoint[part] = plain(checkpoint[part])


def plain(value: Any) -> Any:
    """Return a value with NumPy's numbers, texts and arrays, and paths, as Python's own; tensors stay as they are.

    Mappings are changed in place, as some are of kinds that know more than their items.
    """
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, MutableMapping):
        for key, item in value.items():
            value[key] = plain(item)
        return value
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    return value
