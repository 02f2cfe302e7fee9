"""A run that is told to stop, and stops where it can go on."""

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, Final, final

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["CleanStop", "RunStopped"]

#: With several processes, the steps between two questions whether one of them was told to stop.
_ASK_EVERY: Final = 10

_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)  # Windows has no SIGUSR1


class RunStopped(Exception):  # noqa: N818  # nothing went wrong
    """The run was told to stop.

    Args:
        signum: The signal that told it, or that another process was told to.
        saved: The checkpoint to go on from; None if nothing was trained yet.
        step: Optimiser steps done.
    """

    def __init__(self, signum: int, saved: Path | None, step: int) -> None:
        where = "" if saved is None else f", saved in {saved}; to go on, give that as ckpt_path"
        super().__init__(f"stopped after step {step}{where}")
        self.signum = signum
        self.saved = saved
        self.step = step

    @property
    def exit_code(self) -> int:
        """130 after a Ctrl-C; 143 otherwise, by which schedulers know a job that was ended and not done."""
        return 128 + (signal.SIGINT if self.signum == signal.SIGINT else signal.SIGTERM)


@final
class CleanStop(Callback):
    """Saves and stops at the next step on SIGTERM, SIGUSR1 or a Ctrl-C; a second Ctrl-C stops at once.

    SLURM and spot machines send SIGTERM or SIGUSR1 some seconds before they end a job. Lightning writes no checkpoint
    then, and ends with code 0, as if the job were done (Lightning #21623, #20542); what it does save, it saves within
    the signal handler, while the weights may be half updated (#21407).

    The checkpoint is written between two steps, also while validation runs, which is then done again by `ExactResume`;
    while gradients accumulate, at the end of it; at the end of an epoch, once early stopping and what keeps the best
    weights have seen it, which Lightning lets them do last. A run that is told so in its last validation is done, and
    ends as such. Of several processes each asks the others every 10 steps and before an epoch, so that all stop at the
    same one.

    Args:
        checkpoint: File to write.

    Raises:
        RunStopped: Out of `Trainer.fit`, after the checkpoint is written.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self._signum: int | None = None
        self._process = 0
        self._outside: dict[int, Any] = {}
        self._listens = False
        self._step = 0
        self._is_between_steps = True
        self._steps = 0

    # The signals

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note who listens outside of the run, before Lightning sets handlers of its own."""
        self._outside = {signum: signal.getsignal(signum) for signum in _SIGNALS}

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen, in place of Lightning."""
        if self._listens or threading.current_thread() is not threading.main_thread():
            return
        self._signum, self._process, self._listens = None, os.getpid(), True
        for signum in _SIGNALS:
            signal.signal(signum, self._note)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Listen no more, and leave the signals to who listened before the run."""
        if self._listens:
            self._listens = False
            for signum, handler in self._outside.items():
                if handler is not None:  # else it is none of Python's
                    signal.signal(signum, handler)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Listen no more."""
        self.teardown(trainer, pl_module, "fit")

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # A process that loads pictures: it is ended by the one that trains.
        if signum == signal.SIGINT:
            if self._signum == signal.SIGINT:
                raise KeyboardInterrupt
            print("\nsaving after this step; Ctrl-C once more stops at once", file=sys.stderr, flush=True)
        self._signum = signum

    # Between two steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen, and count from here."""
        self.on_sanity_check_start(trainer, pl_module)
        self._step, self._is_between_steps = trainer.global_step, True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Stop before this batch if told to."""
        self._stop_if_told(trainer, epoch_begins=batch_idx == 0)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note whether gradients are being accumulated; the batch itself is not yet logged."""
        self._is_between_steps, self._step = trainer.global_step != self._step, trainer.global_step

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Stop before this batch if told to; processes that validate different numbers of batches cannot agree here."""
        if trainer.state.fn == "fit" and trainer.world_size == 1:
            self._stop_if_told(trainer)

    def _stop_if_told(self, trainer: Trainer, *, epoch_begins: bool = False) -> None:
        if not self._is_between_steps:
            return
        self._steps += 1
        told = self._signum is not None
        if trainer.world_size > 1:
            # To ask, a process waits for the others and for its device, so it is not done at every step.
            if self._steps % _ASK_EVERY and not epoch_begins:
                return
            told = trainer.strategy.reduce_boolean_decision(told, all=False)
        if not told:
            return
        saved = None
        if trainer.global_step and not trainer.sanity_checking:
            trainer.save_checkpoint(self.checkpoint, weights_only=False)  # with the state of the optimiser
            saved = self.checkpoint
        raise RunStopped(self._signum or signal.SIGTERM, saved, trainer.global_step)
