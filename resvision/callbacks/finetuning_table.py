"""What trains in a fine-tuning, printed once."""

from typing import final

from lightning.pytorch import Callback, LightningModule, Trainer

from resvision.tasks import VisionTask

__all__ = ["FineTuningTable"]


@final
class FineTuningTable(Callback):
    """Prints at the start of a fine-tuning which stage trains, from which epoch on, and how fast."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the table, if there is one."""
        table = pl_module.finetuning_table() if isinstance(pl_module, VisionTask) else None
        if table is not None and trainer.is_global_zero:
            print(table, flush=True)
