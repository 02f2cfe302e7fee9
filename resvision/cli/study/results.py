"""What the runs of a study have reached: curves from their tables, and one table of all."""

import csv
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

from resvision.cli.messages import UsageError
from resvision.cli.study.plan import PlannedRun, Study
from resvision.cli.study.runs import RunOfStudy

__all__ = ["Curve", "Result", "by_member", "check_logged", "check_task", "text_table", "write_table"]

Curve = list[tuple[int, float]]
"""(optimiser step, error in percent), in the order of the steps."""

#: The training error at the end is the mean over this last part of the steps, as each value is of few pictures.
_END: Final = 0.1
#: Tasks that log no accuracy.
_OTHER_TASKS: Final = re.compile(r"(resvision\.tasks\.(\w+\.)?)?(Detection|Multi|MultiLabel|Segmentation)Task")
_COMPARES: Final = "a study compares classifiers by their errors"


@dataclass(frozen=True)
class Result:
    """What one run has reached; errors are in percent.

    Args:
        plan: What was trained.
        folder: Its run folder.
        finished: Whether it went through to its end.
        training: Error on the training pictures, as they were augmented, while it trained.
        validation: Error on the validation split.
        test: Error of the last weights on the test split, if it was asked for.
        seconds: That it took.
        memory: Most memory of its process in MiB.
    """

    plan: PlannedRun
    folder: Path
    finished: bool
    training: Curve
    validation: Curve
    test: float | None
    seconds: float
    memory: float | None

    @classmethod
    def of(cls, run: RunOfStudy) -> "Result":
        """Read what a run has written."""
        record = run.record()
        test = run.folder / "test.json"
        scores = json.loads(test.read_text(encoding="utf-8"))["metrics"] if test.is_file() else {}
        accuracy = scores.get("test/accuracy")
        return cls(
            plan=run.plan,
            folder=run.folder,
            finished=record.finished,
            training=_curve(run.folder / "metrics.csv", "train/accuracy"),
            validation=_curve(run.folder / "metrics.csv", "val/accuracy"),
            test=None if accuracy is None else _error(accuracy),
            seconds=record.seconds,
            memory=record.memory,
        )

    @property
    def steps(self) -> int:
        """The last step of which something is known."""
        return max((step for step, _ in (*self.training, *self.validation)), default=0)

    @property
    def last_training(self) -> float:
        """Training error at the end; nan if there is none."""
        last = [error for step, error in self.training if step >= (1 - _END) * self.steps]
        return fmean(last) if last else math.nan

    @property
    def last_validation(self) -> float:
        """Validation error at the end; nan if there is none."""
        return self.validation[-1][1] if self.validation else math.nan

    @property
    def best_validation(self) -> float:
        """Lowest validation error; nan if there is none."""
        return min((error for _, error in self.validation), default=math.nan)


def check_task(plan: PlannedRun) -> None:
    """Check, before anything is trained, that a run will have errors to compare, as far as its config tells.

    Raises:
        UsageError: It is of another task.
    """
    if plan.task is not None and _OTHER_TASKS.fullmatch(plan.task):
        raise UsageError(f"{plan.title}: {plan.task} logs no accuracy; {_COMPARES}")


def check_logged(run: RunOfStudy) -> None:
    """Check that a finished run has errors to compare.

    Raises:
        UsageError: It logged none.
    """
    result = Result.of(run)
    if not result.training and not result.validation:
        raise UsageError(
            f"{run.plan.title}: the run in {run.folder} logged neither train/accuracy nor val/accuracy; {_COMPARES}. "
            "Once that is mended, name another folder with --output"
        )


def _error(accuracy: float) -> float:
    return 100 * (1 - accuracy)


def _curve(path: Path, column: str) -> Curve:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get(column)]
    # The table counts steps from 0.
    return [(int(row["step"]) + 1, _error(float(row[column]))) for row in rows]


def by_member(study: Study, results: Sequence[Result]) -> dict[tuple[str, float | None], list[Result]]:
    """Return the runs of each member and value over the seeds, in the study's order, where there are any."""
    values = (None,) if study.vary is None else study.vary.values
    groups = {(member, value): list[Result]() for member in study.members for value in values}
    for result in results:
        groups[result.plan.member, result.plan.value].append(result)
    return {key: group for key, group in groups.items() if group}


def write_table(study: Study, results: Sequence[Result], path: Path) -> None:
    """Write a row for each run, as CSV."""
    header = ["member", "value", "seed", "finished", "steps", "training_error", "validation_error"]
    header += ["best_validation_error", "test_error", "paper_error", "seconds", "memory_mib"]
    rows: list[list[object]] = []
    for result in results:
        plan = result.plan
        errors = [result.last_training, result.last_validation, result.best_validation, result.test]
        errors.append(study.paper.get(plan.member))
        rows.append(
            [
                plan.member,
                plan.value,
                plan.seed,
                result.finished,
                result.steps,
                *(None if error is None else round(error, 3) for error in errors),
                round(result.seconds, 1),
                None if result.memory is None else round(result.memory),
            ]
        )
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def text_table(study: Study, results: Sequence[Result]) -> str:
    """Return a table with a row for each member: means over its seeds, and what its runs took on average."""
    groups = by_member(study, results)
    titles = [member if value is None else f"{member}, {value:g}" for member, value in groups]
    width = max(map(len, ("member", *titles)))
    lines = [
        "errors in percent, means over the runs",
        f"{'member':{width}}  runs    steps  training  validation   lowest    test   paper  minutes  memory, MiB",
    ]
    for title, ((member, _), group) in zip(titles, groups.items(), strict=True):
        cells = [
            f"{title:{width}}  {len(group):4}  {max(result.steps for result in group):7}",
            _cell([result.last_training for result in group], 8),
            _cell([result.last_validation for result in group], 10),
            _cell([result.best_validation for result in group], 7),
            _cell([result.test for result in group], 6),
            _cell([study.paper.get(member)], 6),
            f"{fmean(result.seconds for result in group) / 60:7.1f}",
            _cell([result.memory for result in group], 11, digits=0),
        ]
        lines.append("  ".join(cells) + ("" if all(result.finished for result in group) else "  not finished"))
    return "\n".join(lines)


def _cell(values: Sequence[float | None], width: int, *, digits: int = 2) -> str:
    known = [value for value in values if value is not None and not math.isnan(value)]
    return f"{fmean(known):{width}.{digits}f}" if known else f"{'-':>{width}}"
