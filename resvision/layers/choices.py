"""One check, and one wording, for options that come from a closed set."""

from collections.abc import Collection

__all__ = ["check_choice"]


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Raise a ValueError that names the option, the value and the valid set, unless the value is in it."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
