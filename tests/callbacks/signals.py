"""A process that tells itself to stop."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class SendSignals(Callback):
    """Sends signals to its own process at the end of a training batch, or at a batch of the validation after it.

    Args:
        batch: Number of the training batch in the run, from 1.
        signals: Names, such as `SIGTERM`.
        validating: Whether to send them while validation runs.
    """

    def __init__(self, batch: int, signals: list[str], validating: bool = False) -> None:
        self.batch = batch
        self.signals = signals
        self.validating = validating
        self._done = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._done += 1
        if not self.validating:
            self._send()

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self.validating and batch_idx == 1:
            self._send()

    def _send(self) -> None:
        if self._done == self.batch:
            for name in self.signals:
                signal.raise_signal(getattr(signal, name))


class Die(Callback):
    """Kills one of several processes at the end of a training batch; each leaves its number in a file before.

    Args:
        rank: Which one dies.
        batch: Number of the training batch in the epoch, from 0.
        clearing: Seconds that the others take to clear up before they can say anything.
    """

    def __init__(self, rank: int, batch: int, clearing: float) -> None:
        self.rank = rank
        self.batch = batch
        self.clearing = clearing

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        Path(f"process-{trainer.global_rank}").write_text(str(os.getpid()))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_rank == self.rank and batch_idx == self.batch:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        clear = trainer.strategy.teardown

        def clear_slowly() -> None:
            time.sleep(self.clearing)
            clear()

        trainer.strategy.teardown = clear_slowly  # type: ignore[method-assign]
