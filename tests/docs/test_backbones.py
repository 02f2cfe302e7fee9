"""`docs/backbones.md`: its table is what the command prints, and its example of a registration works."""

import re
from pathlib import Path

import pytest

from resvision import create_backbone
from resvision.backbones import registry
from resvision.cli.backbones import main

PAGE = (Path(__file__).parents[2] / "docs" / "backbones.md").read_text(encoding="utf-8")


def test_backbones__table_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    main("backbones", ["list", "--markdown"])
    assert capsys.readouterr().out in PAGE, "run `resvision backbones list --markdown`, and put its table into the page"


def test_backbones__registering_one_takes_ten_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    code = next(
        block for block in re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL) if "@" in block
    )
    assert len(code.splitlines()) <= 20
    exec(compile(code, "backbones.md", "exec"), {"__name__": "example"})
    assert create_backbone("tinynet", width=4).feature_specs["stem"].channels == 4  # type: ignore[call-arg]
