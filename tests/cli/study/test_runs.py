"""With a program in place of `resvision` that does what its words say."""

import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from resvision.cli.messages import UsageError
from resvision.cli.study.plan import PlannedRun
from resvision.cli.study.runs import RunOfStudy, _Crew, train_all

PYTHON = sys.executable
# Called as `-m resvision VERB --act ACT ... --run_dir DIR ...`.
PROGRAM = """#!/bin/sh
trap 'echo saved >> calls; exit 143' TERM
echo "$3 $5 threads=$OMP_NUM_THREADS" >> calls
case $5 in
    mistaken) echo "there is no setting 'x'"; exit 2;;
    failing) echo "the loss is nan"; echo; exit 1;;
    saving) mkdir -p $7/checkpoints; touch $7/checkpoints/last.ckpt;;
    waiting) while :; do sleep 0.02; done;;
esac
"""


@pytest.fixture(autouse=True)
def _program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS")
    program = tmp_path / "program"
    program.write_text(PROGRAM)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(program))


def _run(act: str, *, test: bool = False, seed: int = 0) -> RunOfStudy:
    return RunOfStudy(PlannedRun(act, None, seed, ("--act", act)), Path("study", act, str(seed)), test)


def _calls() -> list[str]:
    path = Path("calls")
    return path.read_text().splitlines() if path.is_file() else []


def test_train__does_what_is_left_and_remembers() -> None:
    said: list[str] = []
    assert train_all([_run("one", test=True)], 1, said.append) == []
    assert [call.split()[0] for call in _calls()] == ["fit", "test"]
    called = [line for line in _run("one").log.read_text().splitlines() if line.startswith("$ ")]
    assert [line.split()[:3] for line in called] == [["$", "resvision", "fit"], ["$", "resvision", "test"]]
    record = _run("one").record()
    assert record.finished
    assert record.seconds > 0
    assert record.memory is None or record.memory > 0
    assert train_all([_run("one"), _run("two")], 1, said.append) == []
    assert [call.split()[1] for call in _calls()[2:]] == ["two"]
    assert said[1] == "1 of 2 runs are finished already"
    assert said[2].startswith("[2/2] two, seed 0: done after ")


def test_train__goes_on_after_a_failure_and_names_it() -> None:
    (failure,) = train_all([_run("failing"), _run("one")], 1, lambda line: None)
    assert failure == "failing, seed 0: the loss is nan\n  all that it printed: study/failing/0.log"
    assert not _run("failing").record().finished
    assert _run("one").record().finished


def test_train__stops_at_a_mistake() -> None:
    with pytest.raises(UsageError, match="mistaken, seed 0: there is no setting 'x'"):
        train_all([_run("mistaken"), _run("waiting")], 1, lambda line: None)
    assert not Path("study/waiting").exists()


def test_train__side_by_side_shares_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resvision.cli.study.runs._cores", lambda: 5)
    assert train_all([_run("one"), _run("two")], 2, lambda line: None) == []
    assert sorted(_calls()) == ["fit one threads=2", "fit two threads=2"]
    assert train_all([_run("three")], 1, lambda line: None) == []
    assert _calls()[2] == "fit three threads="


def test_train__that_is_told_to_stop_lets_its_runs_save() -> None:
    def tell() -> None:
        deadline = time.monotonic() + 60
        while len(_calls()) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    teller = threading.Thread(target=tell)
    teller.start()
    runs = [_run("waiting"), _run("waiting", seed=1), _run("one")]
    with pytest.raises(SystemExit) as caught:
        train_all(runs, 2, lambda line: None)
    teller.join()
    assert caught.value.code == 143
    assert _calls().count("saved") == 2
    assert not any("fit one" in call for call in _calls())
    assert not any(run.record().finished for run in runs)
    assert signal.getsignal(signal.SIGTERM) == before


def test_train__stops_at_a_finished_run_that_is_of_no_use() -> None:
    def check(run: RunOfStudy) -> None:
        if run.plan.member == "one":
            raise UsageError(f"{run.plan.member} is of no use")

    for _ in range(2):  # it is said again when the study is called again
        with pytest.raises(UsageError, match="one is of no use"):
            train_all([_run("failing"), _run("one"), _run("waiting")], 1, lambda line: None, check=check)
    assert [call for call in _calls() if call.startswith("fit")].count("fit one threads=") == 1
    assert not _run("waiting").record().finished


@pytest.mark.parametrize(("path", "code"), [("", 0), (".", 9)])
def test_call__takes_modules_of_the_current_folder_by_python_path_only(
    path: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", PYTHON)
    monkeypatch.setenv("PYTHONPATH", path)
    Path("difflib.py").write_text("raise SystemExit(9)")
    assert _Crew(1)._call(["--version"], Path("log"))[0] == code


def _edited(run: RunOfStudy, *words: str) -> RunOfStudy:
    return replace(run, plan=replace(run.plan, words=words))


def test_record__of_other_settings_is_an_error() -> None:
    train_all([_run("saving")], 1, lambda line: None)
    with pytest.raises(UsageError) as caught:
        train_all([_edited(_run("saving"), "--act", "two", "--more=3")], 1, lambda line: None)
    assert str(caught.value) == (
        "study/saving/0 was trained with --act saving, and now it is to be --act two --more=3; "
        "name another folder with --output, or remove this one"
    )


def test_record__of_a_mistake_does_not_hinder_its_mend() -> None:
    with pytest.raises(UsageError, match="there is no setting 'x'"):
        train_all([_run("mistaken")], 1, lambda line: None)
    mended = _edited(_run("mistaken"), "--act", "one")
    assert train_all([mended], 1, lambda line: None) == []
    assert mended.record().finished


def test_record__is_there_when_the_study_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = _run("one")

    def killed(crew: _Crew, words: Sequence[str], log: Path) -> tuple[int, float | None]:
        checkpoints = run.folder / "checkpoints"
        checkpoints.mkdir(parents=True)
        (checkpoints / "last.ckpt").touch()
        raise ProcessLookupError

    with monkeypatch.context() as patch:
        patch.setattr(_Crew, "_call", killed)
        with pytest.raises(ProcessLookupError):
            train_all([run], 1, lambda line: None)
    with pytest.raises(UsageError, match="was trained with --act one, and now it is to be --act two"):
        train_all([_edited(run, "--act", "two")], 1, lambda line: None)
    assert train_all([run], 1, lambda line: None) == []
    assert run.record().finished


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("", "it printed nothing"),
        ("epoch 1\nepoch 2\n\n", "epoch 2"),
        ("$ resvision fit\nresvision fit: error: the disk is full\n$ resvision fit\nepoch 2\nKilled\n", "Killed"),
        ("$ resvision fit\nepoch 1\n$ resvision fit\n", "it printed nothing"),
        (
            "Epoch 1: 50%\rEpoch 1: 51%resvision fit: error: the loss is nan\n  in a.jpg\nlook into it: ...\n",
            "resvision fit: error: the loss is nan in a.jpg look into it: ...",
        ),
    ],
)
def test_last_words__are_those_of_the_error(printed: str, said: str) -> None:
    run = _run("failing")
    run.log.parent.mkdir(parents=True)
    run.log.write_text(printed)
    assert run.last_words() == said
