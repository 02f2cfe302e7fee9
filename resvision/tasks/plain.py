"""Plain data: what a checkpoint may hold to be opened without running code."""

import os
from collections.abc import MutableMapping
from typing import Any

import numpy as np

__all__ = ["plain"]


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
