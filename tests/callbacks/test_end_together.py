"""A process that hangs because another one is gone is ended from a thread."""

import pickle
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import torch.distributed

from resvision.callbacks import EndTogether, LostProcessError, lost_process
from tests.processes import has_ended

HANG = """
import subprocess, sys, threading, time
from resvision.callbacks import end_together
end_together._EVERY = 0.05
{start}
end_together._watch(threading.Event(), children, parent)
"""
CHILD = """
children = [subprocess.Popen([sys.executable, "-c", {code!r}]), subprocess.Popen(["sleep", "600"])]
parent = None
print(children[1].pid, flush=True)
"""
ORPHAN = """
children, parent = [], 1_000_000_000  # no process has this number
"""


def _run(start: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HANG.format(start=start)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("raise SystemExit(3)", "has ended with exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL"),
    ],
)
def test_child_that_ends__ends_all(code: str, how: str) -> None:
    done = _run(CHILD.format(code=code))
    assert done.returncode == 1
    assert f"process 1 of this run {how}, so all end" in done.stderr
    other = int(done.stdout)
    deadline = time.monotonic() + 20
    while not has_ended(other) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert has_ended(other)


def test_process_whose_parent_ends__ends() -> None:
    done = _run(ORPHAN)
    assert done.returncode == 1
    assert "process 0 of this run has ended, so all end" in done.stderr


def test_children_that_are_done__end_nothing() -> None:
    over = threading.Event()
    with subprocess.Popen(["true"]) as child:
        from resvision.callbacks import end_together

        watch = threading.Thread(target=end_together._watch, args=(over, [child], None), daemon=True)
        watch.start()
        time.sleep(1.5)
        assert watch.is_alive()
        over.set()
        watch.join(timeout=20)
        assert not watch.is_alive()


def test_error_of_a_lost_connection__is_put_into_words() -> None:
    for error in (
        RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1"),
        torch.distributed.DistBackendError("NCCL communicator was aborted"),
    ):
        assert isinstance(lost_process(error), LostProcessError)
    assert lost_process(RuntimeError("shapes differ")) is None
    assert lost_process(ValueError("there is no backend gloo2")) is None


@pytest.mark.parametrize("processes", [1, 2])
def test_callback__can_be_sent_to_processes_that_are_spawned(processes: int) -> None:
    together, process = EndTogether(), SimpleNamespace(world_size=processes, local_rank=0)
    process.state, process.strategy = SimpleNamespace(fn="fit"), SimpleNamespace(launcher=None)
    pickle.loads(pickle.dumps(together))
    together.setup(process, None, "fit")  # type: ignore[arg-type]
    together.teardown(process, None, "fit")  # type: ignore[arg-type]
    pickle.loads(pickle.dumps(together))
