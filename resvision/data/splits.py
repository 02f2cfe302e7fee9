"""What the parts of a data set are called."""

import re
from typing import Final, Literal

__all__ = ["SPLITS", "Split", "split_named"]

Split = Literal["train", "val", "test"]

SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")

#: A word for a split within the name of a file or a folder, with or without the year: `instances_val2017`, `valid`.
_WORDS: Final[dict[Split, re.Pattern[str]]] = {
    "train": re.compile(r"(?<![a-z])(?:train|training)\d*(?![a-z])"),
    "val": re.compile(r"(?<![a-z])(?:val|valid|validation)\d*(?![a-z])"),
    "test": re.compile(r"(?<![a-z])(?:test|testing)\d*(?![a-z])"),
}


def split_named(name: str) -> tuple[Split, str] | None:
    """Return the split that a file or a folder is named after, and the word for it; None if it is none or several."""
    found = [(split, match[0]) for split, word in _WORDS.items() if (match := word.search(name.lower()))]
    return found[0] if len(found) == 1 else None
