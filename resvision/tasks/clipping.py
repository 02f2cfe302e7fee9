"""Clipping gradients in every precision."""

from lightning.pytorch import LightningModule
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch.optim import Optimizer

__all__ = ["clip_gradients"]


def clip_gradients(task: LightningModule, optimizer: Optimizer, value: float | None, algorithm: str | None) -> None:
    """Clip as the trainer says, with fused optimisers too.

    Lightning refuses them under mixed precision, as they undo the loss scaling themselves; in bf16 there is none.

    Raises:
        ValueError: There is one, and a fused optimiser.
    """
    plugin = task.trainer.precision_plugin
    if not value or not isinstance(plugin, MixedPrecision):
        task.clip_gradients(optimizer, gradient_clip_val=value, gradient_clip_algorithm=algorithm)
        return
    if plugin.scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
        raise ValueError(
            "gradients in fp16 cannot be clipped for a fused optimiser: set model.optimizer.init_args.fused: false, "
            "or trainer.precision: bf16-mixed"
        )
    Precision.clip_gradients(plugin, optimizer, value, GradClipAlgorithmType(algorithm or "norm"))
