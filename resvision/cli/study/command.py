"""`resvision study`: list the studies, or run one to its figure and its table."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from resvision.cli.shipped import header
from resvision.cli.study.drawing import draw_study
from resvision.cli.study.plan import Study, folder, names
from resvision.cli.study.results import Result, check_logged, check_task, text_table, write_table
from resvision.cli.study.runs import RunOfStudy, train_all
from resvision.figures import require_matplotlib

__all__ = ["main"]

#: Where studies are kept, below the folder in which the command is called.
_STUDIES = Path("studies")


def main(verb: str, words: Sequence[str]) -> int:
    """List the studies, or run one."""
    if not words:
        for name in names():
            print(name)
            for line in header(folder() / f"{name}.yaml").splitlines():
                print(f"    {line}".rstrip())
        return 0
    options, rest = _parser(verb).parse_known_args(words)
    if options.jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {options.jobs}")
    # Before hours of training, not after them.
    require_matplotlib()
    study = Study.find(options.name)
    place: Path = options.output or _STUDIES / study.name
    runs = [RunOfStudy(plan, place / plan.place, study.test) for plan in study.runs(rest)]
    for run in runs:
        check_task(run.plan)
    _say(f"study {study.name}: {len(runs)} runs in {place}; stopped, it goes on by the same command")
    failures = train_all(runs, options.jobs, _say, check=check_logged)
    results = [result for result in map(Result.of, runs) if result.training or result.validation]
    for failure in failures:
        print(failure, file=sys.stderr)
    if not results:  # every run has failed
        return 1
    target = place / study.name
    draw_study(study, results, target)
    write_table(study, results, target.with_suffix(".csv"))
    _say(f"\n{text_table(study, results)}\n\n{target}.png, .svg, .csv and {target}_points.csv")
    return 1 if failures else 0


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"resvision {verb}",
        allow_abbrev=False,
        description="Train several configs over seeds, and draw one figure and one table. Without a word, list the "
        "studies. All other options are those of `resvision fit`, and count for every run: "
        "--data.root FOLDER, --trainer.max_epochs 1.",
    )
    parser.add_argument("name", help="a study, or the YAML file of one")
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, which share the cores; default: 1")
    parser.add_argument("--output", type=Path, help="folder of the study; default: studies/NAME")
    return parser


def _say(text: str) -> None:
    print(text, flush=True)
