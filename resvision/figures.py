"""Figures with axes: how every plot of the package looks, and how it is kept.

matplotlib is asked for when a figure is drawn, and not before: it is an extra of the package.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Line", "line", "new_figure", "require_matplotlib", "save_figure"]

_DPI: Final = 150


class Line(NamedTuple):
    """How one of several lines looks, in the words of matplotlib."""

    color: str
    marker: str


#: Neighbours differ in lightness and in their markers, so that they are told apart in grey too.
_LINES: Final = (
    Line("#000000", "o"),
    Line("#d55e00", "s"),
    Line("#0072b2", "^"),
    Line("#56b4e9", "D"),
    Line("#5a3d8a", "v"),
    Line("#8fb33b", "P"),
    Line("#5f5f5f", "X"),
    Line("#c994c7", "*"),
)


def line(number: int) -> Line:
    """Return the look of a line by its number, from 0; after eight they begin again."""
    return _LINES[number % len(_LINES)]


def require_matplotlib() -> None:
    """Refuse to go on without matplotlib; it is looked for and not imported, which takes a second.

    Raises:
        ImportError: It is not installed; the message says how to install it.
    """
    if find_spec("matplotlib") is None:
        raise ImportError("figures are drawn by matplotlib, which is not installed: pip install 'resvision[figures]'")


def new_figure(panels: int = 1, *, height: float = 4.0) -> tuple["Figure", list["Axes"]]:
    """Create a figure of panels above each other, which share their x axis.

    Args:
        panels: How many.
        height: Of each, in inches; all are 8 wide.

    Raises:
        ImportError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height * panels), layout="constrained")
    axes = list(figure.subplots(panels, 1, sharex=True, squeeze=False).flat)
    for panel in axes:
        panel.grid(color="0.9", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG and as SVG.

    Args:
        figure: What `new_figure` returned.
        path: Where, without an ending.
    """
    from matplotlib import rc_context

    # Words stay words in the SVG, which then can be searched; the ids in it are the same each time.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "resvision"}):
        figure.savefig(path.with_name(f"{path.name}.png"), dpi=_DPI)
        figure.savefig(path.with_name(f"{path.name}.svg"), metadata={"Date": None})
