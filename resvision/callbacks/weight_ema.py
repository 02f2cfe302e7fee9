"""A moving average of the weights, which is what is scored and kept."""

from typing import Any, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["WeightEMA"]

#: Key of a checkpoint below which the weights are kept that training goes on with.
_CURRENT = "current_state_dict"


@final
class WeightEMA(Callback):
    """Averages the weights, and the statistics of batch norms, exponentially over the steps.

    Validation sees the average, so the best checkpoint is the one whose average is the best; `state_dict` of a
    checkpoint is the average, and the weights to go on with stand beside it. After the training the model has the
    average.

    The decay begins small, min(decay, (1 + t) / (10 + t)) after t steps, as in TensorFlow's `ExponentialMovingAverage`:
    at a constant 0.999 a run of 300 steps would end with three quarters of the random numbers it began with.

    Args:
        decay: Share of the average that a step keeps, from 0 to below 1.

    Raises:
        ValueError: `decay` is out of range; when training starts, if a `ModelCheckpoint` keeps weights alone, which
            Lightning writes without a word to other callbacks, so that they would not be the average.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be from 0 to below 1, got {decay}")
        self.decay = decay
        self._updates = 0
        # The average; the current weights while the model has the average.
        self._stored: dict[str, Tensor] = {}
        self._has_average = False
        self._step = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier run; a checkpoint to go on from is loaded after this."""
        if stage != "fit":
            return
        if any(isinstance(one, ModelCheckpoint) and one.save_weights_only for one in trainer.checkpoint_callbacks):
            raise ValueError(
                "a ModelCheckpoint with save_weights_only would keep weights that WeightEMA has not averaged; "
                "set save_weights_only to false, or take WeightEMA out of trainer.callbacks"
            )
        self._updates, self._stored, self._has_average = 0, {}, False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with the weights as they are, unless a checkpoint had an average."""
        self._stored = {
            name: self._stored.get(name, value).to(value.device, copy=True)
            for name, value in _changed_by_steps(pl_module).items()
        }
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the weights of a step into the average; while gradients accumulate there is no step."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        decay = min(self.decay, (1 + self._updates) / (10 + self._updates))
        self._updates += 1
        state = pl_module.state_dict()
        # All at once, as an accelerator takes longer to be asked for each than to compute it.
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average([*self._stored.values()], [state[name] for name in self._stored], self._updates)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the average be scored."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._swap(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with the current weights."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._swap(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the model."""
        self._swap(pl_module)

    @torch.no_grad()
    def _swap(self, pl_module: LightningModule) -> None:
        state = pl_module.state_dict()
        for name, value in self._stored.items():
            self._stored[name] = state[name].clone()
            state[name].copy_(value)
        self._has_average = not self._has_average

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the average into `state_dict`, and what training goes on with beside it."""
        if not self._stored:
            return
        state = checkpoint["state_dict"]
        names = _first_names(pl_module).items()
        other = state | {name: self._stored[first] for name, first in names if first in self._stored}
        checkpoint[_CURRENT], checkpoint["state_dict"] = (other, state) if self._has_average else (state, other)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Go on with the weights of the checkpoint, and with its average."""
        if trainer.state.fn == "fit" and _CURRENT in checkpoint:
            self._stored = dict(checkpoint["state_dict"])
            self._has_average = False
            pl_module.load_state_dict(checkpoint[_CURRENT])

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps in the average."""
        return {"updates": self._updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting the steps in the average."""
        self._updates = state_dict["updates"]


def _first_names(pl_module: LightningModule) -> dict[str, str]:
    """Return the first name of each entry of the state: a part of the model may have several."""
    seen: dict[int, str] = {}
    return {name: seen.setdefault(id(value), name) for name, value in pl_module.state_dict(keep_vars=True).items()}


def _changed_by_steps(pl_module: LightningModule) -> dict[str, Tensor]:
    """Return weights and statistics of batch norms; what a validation finds, such as a temperature, is neither.

    Batch norms count their batches too; a count has no average.
    """
    names = {name for name, _ in pl_module.named_parameters()}
    for prefix, part in pl_module.named_modules():
        if isinstance(part, _BatchNorm):
            names |= {f"{prefix}.{name}" for name, _ in part.named_buffers(recurse=False)}
    state = pl_module.state_dict()
    return {name: value for name, value in state.items() if name in names and value.is_floating_point()}
