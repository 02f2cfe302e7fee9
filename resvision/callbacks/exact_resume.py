"""A run that was stopped and goes on as if it had never been stopped."""

import warnings
from typing import Any, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from resvision.data.base import VisionDataModule
from resvision.data.seeding import fold

__all__ = ["ExactResume"]


@final
class ExactResume(Callback):
    """Makes a resumed run see the batches and draw the random numbers that it would have without the stop.

    Lightning saves no random state, and a resumed epoch begins with its first batch again (Lightning #20550); with
    worker processes the first resumed epoch has the order of epoch 0 (#21938). Here no random state needs saving:
    the order and the augmentation are functions of seed, epoch and picture, and what the model draws (dropout, drop
    path) becomes a function of seed and step. What is left is to tell the data where to begin, before the loader
    exists.

    The weights, the batches and the epochs are those of the run without the stop, whichever hook wrote the checkpoint
    and however often the run is resumed. A validation that was due at the very step of a checkpoint written before
    it is not made up for.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Tell the data module where the checkpoint stands in its epoch."""
        data = getattr(trainer, "datamodule", None)
        if trainer.state.fn != "fit" or not isinstance(data, VisionDataModule):
            return
        loop = checkpoint["loops"]["fit_loop"]
        batches, epochs = loop["epoch_loop.batch_progress"], loop["epoch_progress"]
        # Lightning cannot know that the loader begins where the checkpoint stands.
        warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before the epoch")
        if not batches["is_last_batch"]:
            data.resume_at(epochs["current"]["processed"], batches["current"]["ready"])
            return
        if batches["current"]["completed"] < batches["current"]["ready"]:
            # Saved in the hooks of an epoch's last batch. From there Lightning counts the epochs wrong, and a run that
            # is resumed once more repeats batches. It is right from the end of the epoch, so that is what it is told.
            for counts in ("current", "total"):
                batches[counts]["completed"] = batches[counts]["ready"]
                epochs[counts]["processed"] += 1
            loop["epoch_loop.state_dict"]["_batches_that_stepped"] += 1
        data.resume_at(epochs["current"]["processed"], 0)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Give this step its own random numbers."""
        seed = fold(self.seed, "step", trainer.fit_loop.epoch_loop.total_batch_idx)
        # `torch.manual_seed` would walk all backends, which takes longer than the rest of this callback.
        torch.default_generator.manual_seed(seed)
        if pl_module.device.type == "cuda":
            torch.cuda.default_generators[pl_module.device.index].manual_seed(seed)
