"""Every block of `docs/reuse.md`, run as it stands."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "reuse.md"
BLOCKS = re.findall(
    r"^## (.+?)$|^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
)


def titled() -> Iterator[tuple[str, str]]:
    """Yield each block under its heading."""
    heading = ""
    for title, code in BLOCKS:
        if title:
            heading = title
        else:
            yield heading, code


def test_reuse__has_a_block_for_every_heading() -> None:
    headings = [title for title, _ in BLOCKS if title]
    assert len(headings) == 6
    assert {title for title, _ in titled()} == set(headings)


@pytest.mark.parametrize(("title", "code"), [pytest.param(*block, id=block[0]) for block in titled()])
def test_reuse__block_runs(title: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A module of its own, as timm files what is registered under the module that it comes from.
    module = ModuleType("reuse_block")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, f"{PAGE.name}, {title}", "exec"), vars(module))
