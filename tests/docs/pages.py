"""The fenced blocks of a page of the manual."""

import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["DOCS", "Block", "blocks", "headings"]

DOCS = Path(__file__).parents[2] / "docs"
# A fence is tried together with a heading, so that a comment within a block is not taken for one.
_PARTS = re.compile(r"^## (.+?)$|^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """What stands between two fences."""

    heading: str
    language: str
    text: str


def headings(page: Path) -> list[str]:
    """Return the headings of the second level."""
    return [title for title, _, _ in _PARTS.findall(page.read_text(encoding="utf-8")) if title]


def blocks(page: Path) -> list[Block]:
    """Return the blocks in order, each with the heading that it stands under."""
    found: list[Block] = []
    heading = ""
    for title, language, text in _PARTS.findall(page.read_text(encoding="utf-8")):
        heading = title or heading
        if not title:
            found.append(Block(heading, language, text))
    return found
