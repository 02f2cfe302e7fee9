"""Processes of a run that end together."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import final

import torch.distributed
from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["EndTogether", "LostProcessError", "last_words", "lost_process"]

#: Seconds between two looks at the other processes, and those that this one gets to meet the loss by itself: less than
#: the 5 after which Lightning kills it.
_EVERY, _GRACE = 1.0, 2.0


class LostProcessError(ChildProcessError):
    """Another process of the run has ended, so that this one cannot go on."""


@final
class EndTogether(Callback):
    """Ends a process that would wait for ever for one that has died, and says why.

    When the process that has started the others is killed, Lightning leaves these waiting, with their GPUs (Lightning
    #2913); when one of the others dies, it kills all without a word of what has happened (#18218). Here each looks
    once a second, from a thread, as the training itself hangs in a call to a process that is gone: the first one at
    those that it has started, and these at the one that has started them. Processes on other machines are watched by
    what has started them, such as `torchrun`.

    Over TCP a process meets the loss at once, as an error of its next call: `lost_process` knows it.
    """

    def __init__(self) -> None:
        # Made when there is something to watch: strategies that spawn processes pickle all callbacks before.
        self._over: threading.Event | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin to look, if there are other processes."""
        if trainer.world_size == 1 or trainer.state.fn != "fit":
            return
        self._over = threading.Event()
        children = getattr(trainer.strategy.launcher, "procs", [])
        # A process that others do not depend on may outlive the shell that has started it.
        parent = os.getppid() if trainer.local_rank > 0 else None
        watch = threading.Thread(target=_watch, args=(self._over, children, parent), daemon=True)
        watch.start()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look no more."""
        if self._over is not None:
            self._over.set()
            self._over = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Look no more: this process ends, and says itself why."""
        self.teardown(trainer, pl_module, "fit")


@contextlib.contextmanager
def last_words(processes: int) -> Iterator[None]:
    """Let one of several processes say why it ends: after an error it hears no SIGTERM any more.

    `torchrun` sends that to those that are left, within a tenth of a second after one has ended. While it trains, a
    process listens by itself.

    Args:
        processes: How many there are; one alone hears everything.
    """
    if processes == 1:
        yield
        return
    outside = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, outside)  # not after an error, whose words come when this is left


def lost_process(error: Exception) -> LostProcessError | None:
    """Return an error that says in plain words that another process is gone, if that is what this one means."""
    is_lost = isinstance(error, torch.distributed.DistError) or "gloo" in str(error)
    if not isinstance(error, RuntimeError) or not is_lost:
        return None
    return LostProcessError("another process of this run has ended, so this one ends too; see what that one says")


def _watch(over: threading.Event, children: Sequence[subprocess.Popen[bytes]], parent: int | None) -> None:
    while not over.wait(_EVERY):
        ended = [(number, code) for number, child in enumerate(children, 1) if (code := child.poll())]
        if not ended and (parent is None or os.getppid() == parent):
            continue
        if over.wait(_GRACE):
            return
        number, how = (ended[0][0], _how(ended[0][1])) if ended else (0, "has ended")
        print(f"\nprocess {number} of this run {how}, so all end; see what it says", file=sys.stderr, flush=True)
        for child in children:
            child.kill()
        os._exit(1)  # the thread that trains waits in a call that no exception reaches


def _how(code: int) -> str:
    """Return how a process has ended, by its exit code."""
    if code > 0:
        return f"has ended with exit code {code}"
    return f"was ended by {signal.Signals(-code).name}"
