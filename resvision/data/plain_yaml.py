"""YAML that somebody else wrote: plain data, of a bounded size when it is unfolded."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from resvision.data.errors import DataError

__all__ = ["read_yaml"]

#: Most bytes of a file.
_MOST_BYTES: Final = 2**20
#: Most values, each counted as often as an alias repeats it, and most levels of nesting.
_MOST_VALUES, _MOST_LEVELS = 200_000, 100


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain data; no tag makes an object.

    Eleven short lines in which each repeats the one before ten times stand for 10^11 values, and a hundred thousand
    brackets exhaust the stack of whoever walks through them. Both are refused before anything is built.

    Args:
        path: File of at most 1 MiB.

    Raises:
        DataError: The file cannot be read, is no YAML, has a key twice in one mapping, of which YAML keeps the last
            without a word, or is too large, too deep or refers to itself.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(content) > _MOST_BYTES:
        raise DataError(f"{path}: more than 1 MiB, which no settings need; check that it is the right file")
    try:
        text = content.decode("utf-8-sig")
        _measure(text, path)
        return yaml.safe_load(text)
    except DataError:
        raise
    # A list as a key is a TypeError; the others come of tags such as `!!int`, on what is none.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise DataError(f"{path}: not a YAML file that can be read: {' '.join(str(error).split())}") from None


@dataclass
class _Open:
    """A collection whose end has not come yet.

    Attributes:
        anchor: What names it.
        before: Values before it.
        is_mapping: Whether it has keys.
        is_at_key: Whether a key comes next.
        keys: Those that it has so far.
    """

    anchor: str | None
    before: int
    is_mapping: bool
    is_at_key: bool = True
    keys: set[str] = field(default_factory=set)


def _measure(text: str, path: Path) -> None:
    """Check a text by the events of the parser, which builds and remembers none of its values."""
    values = 0
    sizes: dict[str | None, int | None] = {}  # of what an anchor names, None while it is still open
    opened: list[_Open] = []
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.NodeEvent) and opened:
            _note_key(event, opened[-1], path)
        if isinstance(event, yaml.AliasEvent):
            size = sizes.get(event.anchor, 0)
            if size is None:
                raise DataError(f"{path}: *{event.anchor} refers to what it is a part of")
            values += size
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            opened.append(_Open(event.anchor, values, isinstance(event, yaml.MappingStartEvent)))
            values += 1
            if event.anchor is not None:
                sizes[event.anchor] = None
        elif isinstance(event, yaml.CollectionEndEvent):
            ended = opened.pop()
            if ended.anchor is not None:
                sizes[ended.anchor] = values - ended.before
        if values > _MOST_VALUES or len(opened) > _MOST_LEVELS:
            raise DataError(f"{path}: more than {_MOST_VALUES} values or {_MOST_LEVELS} levels, which no settings need")


def _note_key(event: yaml.NodeEvent, mapping: _Open, path: Path) -> None:
    if not mapping.is_mapping:
        return
    if mapping.is_at_key and isinstance(event, yaml.ScalarEvent) and event.value != "<<":
        if event.value in mapping.keys:
            line = 0 if event.start_mark is None else event.start_mark.line + 1
            raise DataError(f"{path}, line {line}: {event.value} stands there for the second time; keep one of the two")
        mapping.keys.add(event.value)
    mapping.is_at_key = not mapping.is_at_key
