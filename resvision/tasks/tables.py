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
    wrong = counts.clone().fill_diagonal_(0).flatten()
    most, cells = wrong.topk(min(_MOST_CONFUSED, len(wrong)))
    lines = [
        f"  {names[place // len(names)]} taken for {names[place % len(names)]}: {count}"
        for count, place in zip(most.tolist(), cells.tolist(), strict=True)
        if count
    ]
    return [title, *lines] if lines else []
