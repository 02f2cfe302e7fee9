import sys
from pathlib import Path

import pytest
from PIL import Image, ImageColor

from resvision.figures import line, new_figure, require_matplotlib, save_figure


def test_figure__is_written_twice_with_its_words_and_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        figure, (above, below) = new_figure(2, height=2.0)
        above.plot([0, 1], [1, 2])
        below.set_xlabel("steps, thousands")
        save_figure(figure, tmp_path / f"{name}.v1")
    with Image.open(tmp_path / "one.v1.png") as picture:
        assert picture.size == (8 * 150, 4 * 150)
    first, second = ((tmp_path / f"{name}.v1.svg").read_text(encoding="utf-8") for name in ("one", "two"))
    assert ">steps, thousands<" in first
    assert first == second


def _lightness(color: str) -> float:
    """Return what is left of a colour in grey (Rec. ITU-R BT.601), 0 to 255."""
    red, green, blue = ImageColor.getrgb(color)[:3]
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_line__is_told_from_its_neighbour_in_grey() -> None:
    lines = [line(number) for number in range(8)]
    assert len(set(lines)) == 8
    assert line(8) == lines[0]
    lightness = [_lightness(one.color) for one in lines]
    for one, other in zip(range(8), range(1, 8), strict=False):
        assert abs(lightness[one] - lightness[other]) > 30
        assert lines[one].marker != lines[other].marker


def test_matplotlib__that_is_missing_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'resvision\[figures\]'"):
        require_matplotlib()
