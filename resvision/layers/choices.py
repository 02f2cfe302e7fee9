"""One check, and one wording, for each kind of option."""

from collections.abc import Collection

__all__ = ["check_choice", "check_whole"]


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Raise a ValueError that names the option, the value and the valid set, unless the value is in it."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_whole(name: str, value: object, least: int) -> None:
    """Raise a ValueError that names the option and the value, unless that is a whole number and large enough."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
