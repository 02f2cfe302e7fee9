"""Every block of `docs/reuse.md`, run as it stands."""

import sys
from types import ModuleType

import pytest

from tests.docs.pages import DOCS, Block, blocks, headings
from tests.exporting import EXPORTS_ANY_SIZE

PAGE = DOCS / "reuse.md"
PROGRAMS = [block for block in blocks(PAGE) if block.language == "python"]


def test_reuse__has_a_block_for_every_heading() -> None:
    assert len(headings(PAGE)) == 6
    assert {block.heading for block in PROGRAMS} == set(headings(PAGE))


def _marks(block: Block) -> list[pytest.MarkDecorator]:
    return [EXPORTS_ANY_SIZE] if "torch.export" in block.text else []


@pytest.mark.parametrize("block", [pytest.param(block, id=block.heading, marks=_marks(block)) for block in PROGRAMS])
def test_reuse__block_runs(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    # A module of its own, as timm files what is registered under the module that it comes from.
    module = ModuleType("reuse_block")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(block.text, f"{PAGE.name}, {block.heading}", "exec"), vars(module))
