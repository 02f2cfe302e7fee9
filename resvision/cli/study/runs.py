"""The runs of a study: each a `resvision fit` in a process of its own, one after another or side by side."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from resvision.cli.messages import UsageError
from resvision.cli.study.plan import PlannedRun

__all__ = ["Record", "RunOfStudy", "train_all"]

#: Exit code of `fit` for a mistake of the person's, which every other run would meet too.
_MISTAKE: Final = 2


@dataclass
class Record:
    """What a study remembers of a run.

    Args:
        words: What `resvision fit` was told.
        finished: Whether it went through to its end.
        seconds: That it took, over all its parts if it was stopped.
        memory: Most memory of its process in MiB; None where the system does not say.
    """

    words: list[str]
    finished: bool = False
    seconds: float = 0.0
    memory: float | None = None


@dataclass(frozen=True)
class RunOfStudy:
    """A planned run, and where it lies.

    Args:
        plan: What is trained.
        folder: Its run folder; the record and the output stand beside it.
        test: Whether it is scored on the test split in the end.
    """

    plan: PlannedRun
    folder: Path
    test: bool

    @property
    def log(self) -> Path:
        """File of what the run prints."""
        return self.folder.with_name(f"{self.folder.name}.log")

    def record(self) -> Record:
        """Return what is known of it; what was told to a run that saved no checkpoint does not count.

        Raises:
            UsageError: What lies there was trained with other settings.
        """
        path, fresh = self._record_path, Record(list(self.plan.words))
        if not path.is_file():
            return fresh
        record = Record(**json.loads(path.read_text(encoding="utf-8")))
        if record.words != fresh.words:
            if not any((self.folder / "checkpoints").glob("*.ckpt")):
                return fresh
            now, before = _differing(self.plan.words, record.words), _differing(record.words, self.plan.words)
            raise UsageError(
                f"{self.folder} was trained with {before or 'less'}, and now it is to be {now or 'less'}; "
                "name another folder with --output, or remove this one"
            )
        return record

    def keep(self, record: Record) -> None:
        """Write the record, as a whole or not at all."""
        self._record_path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._record_path.with_suffix(".json.new")
        temporary.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
        temporary.replace(self._record_path)

    @property
    def _record_path(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.json")

    def commands(self) -> Iterator[list[str]]:
        """Yield what is to be called, one after the other."""
        where = ["--run_dir", str(self.folder), "--resume", "auto", "--trainer.enable_progress_bar", "false"]
        yield ["fit", *self.plan.words, *where]
        if self.test:
            quiet = ["--trainer.enable_progress_bar", "false"]
            yield ["test", "--ckpt_path", str(self.folder / "checkpoints" / "last.ckpt"), *quiet]

    def last_words(self) -> str:
        """Return the last error that its last command printed, or the last line of that."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.is_file() else ""
        text = re.split(r"^\$ resvision .*$", text, flags=re.MULTILINE)[-1]
        if errors := [*re.finditer(r"resvision \w+: error: ", text)]:
            return " ".join(text[errors[-1].start() :].split())
        return next((line.strip() for line in reversed(text.split("\n")) if line.strip()), "it printed nothing")


def train_all(
    runs: Sequence[RunOfStudy],
    jobs: int,
    say: Callable[[str], None],
    *,
    check: Callable[[RunOfStudy], None] = lambda run: None,
) -> list[str]:
    """Train what is not finished.

    A run that ends by a mistake of the person's stops the study; one that fails otherwise, as by a loss that is no
    number, is a result too, and the others go on.

    Args:
        runs: All of the study.
        jobs: How many to train side by side.
        say: Gets a line for each.
        check: Gets each run that is finished, and raises a UsageError for one that is of no use, which stops the study.

    Returns:
        A line for each run that failed.

    Raises:
        UsageError: A run was told what it cannot follow, or `check` raised it.
        KeyboardInterrupt: The study was stopped; so were its runs, which have saved.
        SystemExit: The same, by SIGTERM.
    """
    left = []
    for run in runs:
        if run.record().finished:
            check(run)
        else:
            left.append(run)
    if len(left) < len(runs):
        say(f"{len(runs) - len(left)} of {len(runs)} runs are finished already")
    failures = []
    crew = _Crew(jobs)
    with ThreadPoolExecutor(jobs) as pool, _sigterm_exits():
        try:
            tasks = {pool.submit(crew.train, run): run for run in left}
            for number, task in enumerate(as_completed(tasks), start=len(runs) - len(left) + 1):
                run = tasks[task]
                code, record = task.result(), run.record()
                if code == _MISTAKE:
                    raise UsageError(f"{run.plan.title}: {run.last_words()}")
                if code == 0:
                    check(run)
                else:
                    failures.append(f"{run.plan.title}: {run.last_words()}\n  all that it printed: {run.log}")
                state = f"failed with code {code}" if code else "done"
                say(f"[{number}/{len(runs)}] {run.plan.title}: {state} after {record.seconds:.0f} s")
        except BaseException:
            crew.stop()
            raise
    return failures


class _Crew:
    """Processes that train.

    Args:
        jobs: How many there are at a time, which share the cores.
    """

    def __init__(self, jobs: int) -> None:
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False
        # `-m` would look for modules in the current folder first, where a `random.py` would stand for Python's own.
        self._environment = os.environ | {"PYTHONSAFEPATH": "1"}
        if jobs > 1:
            self._environment.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // jobs)))

    def train(self, run: RunOfStudy) -> int:
        """Train one run to its end, or until it is stopped; return its exit code."""
        if self._stopped:
            return 128 + signal.SIGTERM
        record = run.record()
        # Before the first checkpoint, so that even after a kill it is known with which settings that was trained.
        run.keep(record)
        code = 0
        for words in run.commands():
            begin = time.perf_counter()
            code, memory = self._call(words, run.log)
            record.seconds += time.perf_counter() - begin
            record.memory = memory if record.memory is None or memory is None else max(memory, record.memory)
            if code:
                break
        record.finished = code == 0
        run.keep(record)
        if code == _MISTAKE:
            self.stop()  # no other run begins before `train_all` hears of it
        return code

    def stop(self) -> None:
        """Begin no further run, and let those that train save and end."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                # `Popen.terminate` would wait for the process too, which another thread does.
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGTERM)

    def _call(self, words: Sequence[str], log: Path) -> tuple[int, float | None]:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            with self._lock:
                if self._stopped:
                    return 128 + signal.SIGTERM, None
                output.write(f"$ resvision {shlex.join(words)}\n".encode())
                output.flush()
                process = subprocess.Popen(
                    [sys.executable, "-m", "resvision", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                )
                self._processes.add(process)
            memory = _wait(process)
            with self._lock:
                self._processes.discard(process)
        return process.returncode, memory


def _wait(process: subprocess.Popen[bytes]) -> float | None:
    """Wait for a process; return the most memory that it took, in MiB, or that this one had when it began it."""
    if sys.platform == "win32":  # which keeps no such count
        process.wait()
        return None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # In KiB, but for macOS, where they are bytes.
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _sigterm_exits() -> Iterator[None]:
    """Turn SIGTERM into a SystemExit, so that the runs are told to save."""

    def leave(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _differing(words: Sequence[str], others: Sequence[str]) -> str:
    """Return the options of a command that another does not have, each with its value."""
    known = set(_options(others))
    return " ".join(option for option in _options(words) if option not in known)


def _options(words: Sequence[str]) -> list[str]:
    options: list[str] = []
    for word in words:
        if word.startswith("--") or not options:
            options.append(word)
        else:
            options[-1] += f" {word}"
    return options
