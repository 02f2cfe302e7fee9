"""What the tables have in common in which tasks report their scores."""

import math
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from torch import Tensor

__all__ = ["MOST_LISTED", "cell", "confusions", "worst"]

#: With more classes than these, none is logged by itself, and a report shows the worst ones.
MOST_LISTED: Final = 30
#: Confusions that a report names.
_MOST_CONFUSED: Final = 5

Row = TypeVar("Row", bound=tuple[Any, ...])


def cell(score: float) -> str:
    """Return a score in six characters."""
    return f"{'-':>6}" if score != score else f"{score:6.3f}"


def worst(rows: Sequence[Row], column: int) -> list[Row]:
    """Return the rows as they are, or, if there are too many to list, those with the lowest scores in a column."""
    if len(rows) <= MOST_LISTED:
        return [*rows]
    return sorted(rows, key=lambda row: math.inf if math.isnan(row[column]) else row[column])[:MOST_LISTED]


def confusions(counts: Tensor, names: Sequence[str], title: str) -> list[str]:
    """Return a line for each of the most frequent confusions, and a title if there is any.

    Args:
        counts: (K, K), rows the truth, columns what was said.
        names: Of the K classes.
        title: Line above them.
    """
    true, said = counts.nonzero(as_tuple=True)  # of the many cells of many classes few are filled
    wrong = true != said
    true, said = true[wrong], said[wrong]
    most, order = counts[true, said].sort(descending=True, stable=True)
    places = zip(most[:_MOST_CONFUSED].tolist(), order[:_MOST_CONFUSED].tolist(), strict=True)
    lines = [f"  {names[int(true[place])]} taken for {names[int(said[place])]}: {count}" for count, place in places]
    return [title, *lines] if lines else []
