"""The progress bar."""

from typing import Any, final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

__all__ = ["Progress"]


@final
class Progress(TQDMProgressBar):
    """Lightning's bar, without the version of the logger, which says nothing where runs have folders.

    Lightning's own turns the values behind the bar into numbers after each batch, for which an accelerator finishes all
    that it was told to do. Here they are read in the steps in which the loggers get them, every
    `trainer.log_every_n_steps`, and after each epoch and validation.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: dict[str, Any] = {}
        self._is_new = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move on by a batch."""
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by Lightning's logger connector
        self._is_new = every > 0 and trainer.global_step % every == 0
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self._is_new = True

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what stands behind the bar."""
        if self._is_new:
            self._shown = super().get_metrics(trainer, pl_module)
            self._shown.pop("v_num", None)
        return self._shown
