"""The figure of a study, and the numbers that are drawn in it."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Final

from resvision.cli.study.plan import Draw, Study
from resvision.cli.study.results import Curve, Result, by_member
from resvision.figures import Line, line, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_study"]

_Point = tuple[str, str, float, float, float, float]
"""Panel, member, x, and the mean, the lowest and the highest y over the seeds."""

#: What a dashed line is.
_PAPER: Final = "test error in the paper"
#: Marks on a line of many points.
_MARKS: Final = 8


def draw_study(study: Study, results: Sequence[Result], path: Path) -> None:
    """Draw the figure, and write the points in it as CSV.

    Args:
        study: What was asked.
        results: Of its runs, those that have something to show.
        path: Where, without an ending.

    Raises:
        ImportError: matplotlib is not installed.
    """
    points = _DRAWN[study.draw](study, results, path)
    with path.with_name(f"{path.name}_points.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("panel", "member", "x", "mean", "lowest", "highest"), *points])


def _draw_errors(study: Study, results: Sequence[Result], path: Path) -> list[_Point]:
    """Draw the training error over the steps, and below it the validation error (He et al. 2015, figure 6)."""
    figure, (above, below) = new_figure(2, height=3.2)
    points: list[_Point] = []
    curves: tuple[tuple[Axes, str, Callable[[Result], Curve]], ...] = (
        (above, "training error", lambda result: result.training),
        (below, "validation error", lambda result: result.validation),
    )
    for panel, label, curve in curves:
        for (member, _), group in by_member(study, results).items():
            drawn = _over_seeds([curve(result) for result in group])
            _plot(panel, drawn, line(list(study.members).index(member)), member)
            points += [(label, member, *point) for point in drawn]
        panel.set_ylabel(f"{label} (%)")
    _paper_lines(study, below, points)
    below.set_xlabel("optimiser steps")
    _legend(above)
    _legend(below, only_paper=True)
    save_figure(figure, path)
    return points


def _draw_values(study: Study, results: Sequence[Result], path: Path) -> list[_Point]:
    """Draw the lowest validation error over what is varied."""
    assert study.vary is not None
    figure, (panel,) = new_figure(height=4.5)
    points: list[_Point] = []
    groups = by_member(study, results)
    for number, member in enumerate(study.members):
        ends = [
            [(value, result.best_validation) for result in groups.get((member, value), [])]
            for value in study.vary.values
        ]
        drawn = [point for end in ends for point in _over_seeds([[pair] for pair in end])]
        _plot(panel, drawn, line(number), member)
        points += [("validation error", member, *point) for point in drawn]
    panel.set_xscale("log")
    panel.set_xticks(study.vary.values, [f"{value:g}" for value in study.vary.values])
    panel.minorticks_off()
    panel.set_xlabel(study.vary.label)
    panel.set_ylabel("validation error (%)")
    _legend(panel)
    save_figure(figure, path)
    return points


def _draw_gradients(study: Study, results: Sequence[Result], path: Path) -> list[_Point]:
    """Draw the norm of the gradient over the layers, at the first step and at the last one that was measured."""
    figure, panels = new_figure(2, height=3.2)
    points: list[_Point] = []
    for panel, label in zip(panels, ("first step", "last step measured"), strict=True):
        for (member, _), group in by_member(study, results).items():
            norms = [_norms(result.folder / "gradient_flow.csv", last=panel is panels[-1]) for result in group]
            drawn = _over_seeds(norms)
            _plot(panel, drawn, line(list(study.members).index(member)), member)
            points += [(label, member, *point) for point in drawn]
        panel.set_yscale("log", nonpositive="mask")
        panel.set_ylabel(f"norm of the gradient,\n{label}")
    panels[-1].set_xlabel("convolution or fully connected layer, counted from the input")
    _legend(panels[0])
    save_figure(figure, path)
    return points


_DRAWN: Final[dict[Draw, Callable[[Study, Sequence[Result], Path], list[_Point]]]] = {
    "errors": _draw_errors,
    "values": _draw_values,
    "gradients": _draw_gradients,
}


def _norms(path: Path, *, last: bool) -> Curve:
    """Return (number of the layer, norm of its gradient) at the first or the last step of a table."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        return []
    step = rows[-1 if last else 0]["step"]
    return list(enumerate((float(row["gradient"]) for row in rows if row["step"] == step), start=1))


def _over_seeds(curves: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float, float, float]]:
    """Return x, mean, lowest and highest of curves, for each x that they have."""
    found: dict[float, list[float]] = {}
    for curve in curves:
        for x, y in curve:
            found.setdefault(x, []).append(y)
    return [(x, fmean(ys), min(ys), max(ys)) for x, ys in sorted(found.items())]


def _plot(panel: "Axes", drawn: Sequence[tuple[float, float, float, float]], look: Line, label: str) -> None:
    """Draw a line of means within the range of the seeds."""
    if not drawn:
        return
    xs, means, lowest, highest = zip(*drawn, strict=True)
    every = max(1, len(xs) // _MARKS)
    panel.plot(xs, means, color=look.color, marker=look.marker, markevery=every, markersize=5, label=label)
    if lowest != highest:
        panel.fill_between(xs, lowest, highest, color=look.color, alpha=0.2, linewidth=0)


def _paper_lines(study: Study, panel: "Axes", points: list[_Point]) -> None:
    for member, error in study.paper.items():
        color = line(list(study.members).index(member)).color
        panel.axhline(error, color=color, linestyle="--", linewidth=1, label=f"{_PAPER}, {member}: {error:g} %")
        points.append((_PAPER, member, 0.0, error, error, error))


def _legend(panel: "Axes", *, only_paper: bool = False) -> None:
    handles, labels = panel.get_legend_handles_labels()
    pairs = [pair for pair in zip(handles, labels, strict=True) if not only_paper or pair[1].startswith(_PAPER)]
    if pairs:
        handles, labels = (list(column) for column in zip(*pairs, strict=True))
        panel.legend(
            handles,
            labels,
            fontsize="small",
            frameon=False,
            ncols=min(4, len(pairs)),
            loc="lower center",
            bbox_to_anchor=(0.5, 1),
        )
