"""Settings of several values that belong together, as a person gives them."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

__all__ = ["given_as"]

Kind = TypeVar("Kind")


def given_as(kind: type[Kind], name: str, value: object) -> Kind | None:
    """Return a setting as its dataclass; None stays None.

    Args:
        kind: The dataclass.
        name: What the setting is called.
        value: One of the class, or, as in a config, a mapping with its fields.

    Raises:
        ValueError: It is something else, or a field is not known or missing.
    """
    if value is None or isinstance(value, kind):
        return value
    known: Any = kind
    names = [field.name for field in fields(known)]
    if isinstance(value, Mapping) and set(value) <= set(names):
        try:
            return kind(**value)
        except TypeError:  # a field without a default is missing
            pass
    raise ValueError(f"{name} is a {kind.__name__}, or a mapping with some of {', '.join(names)}, got {value!r}")
