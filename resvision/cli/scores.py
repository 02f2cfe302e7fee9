"""What `validate` and `test` write beside the checkpoint that they score, and what they warn of."""

import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from resvision.data.plain_yaml import read_yaml

__all__ = ["can_write", "changed_splits", "write_scores"]

#: Settings of the data that decide which pictures were trained on.
_SPLITTING: Final = ("val_fraction", "test_fraction")


def can_write(run: Path) -> bool:
    """Return whether scores and pictures can be put into a run folder: those of others are often for reading only."""
    return os.access(run, os.W_OK)


def write_scores(
    run: Path,
    verb: str,
    checkpoint: Path,
    metrics: Mapping[str, float],
    tables: Mapping[str, Sequence[Sequence[Any]]],
) -> list[Path]:
    """Write the scores as JSON and the tables of a task as CSV.

    Args:
        run: The run folder.
        verb: `validate` or `test`, which begins the names of the files.
        checkpoint: What was scored.
        metrics: The scores by name.
        tables: Rows of each table by name.

    Returns:
        The files.
    """
    # JSON knows no nan, which is the score of a class that the split does not show, and no infinity.
    scores = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    result = json.dumps({"checkpoint": str(checkpoint), "metrics": scores}, indent=2, allow_nan=False)
    files = [run / f"{verb}.json"]
    files[0].write_text(result + "\n", encoding="utf-8")
    for name, rows in tables.items():
        files.append(run / f"{verb}_{name}.csv")
        with files[-1].open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    return files


def changed_splits(run: Path, data: Mapping[str, Any]) -> str | None:
    """Return what to warn of where the pictures of a split may be some that the run was trained on.

    Args:
        run: The run folder.
        data: Settings of the data that is scored now.
    """
    before: Mapping[str, Any] = (read_yaml(run / "config.yaml").get("data") or {}).get("init_args") or {}
    if Path(before.get("root") or "").resolve() != Path(data.get("root") or "").resolve():
        return None
    changed = [name for name in _SPLITTING if name in data and name in before and data[name] != before[name]]
    if not changed:
        return None
    said = " and ".join(f"{name} {before[name]}, now {data[name]}" for name in changed)
    return f"warning: the run was trained with {said}: pictures that are scored may be some that it was trained on"
