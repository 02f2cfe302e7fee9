"""How the gradient gets through a network, layer by layer."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.optim import Optimizer

from resvision.figures import new_figure, require_matplotlib, save_figure

__all__ = ["GradientFlow"]

#: Steps that the figure shows, at most.
_SHOWN: Final = 5


class _Row(NamedTuple):
    step: int
    layer: str
    gradient: float
    weight: float
    update: float


class _Measured(NamedTuple):
    """What is known of a step before it is taken."""

    step: int
    weights: Mapping[str, Tensor]
    before: list[Tensor]
    gradients: Tensor


@final
class GradientFlow(Callback):
    """Measures how the gradient gets through the network while it trains.

    Every so many optimiser steps it takes three numbers of each convolution and each fully connected layer: the norm
    of the gradient of its weight, as it is before clipping; the norm of the weight; and the update ratio, the norm of
    what the step changes over the norm of the weight. Norms are Euclidean. Biases and the weights of normalisation
    layers are left out, and so is a layer that is frozen.

    The loggers get `gradient_norm/<layer>`, `weight_norm/<layer>` and `update_ratio/<layer>`. The folder of the run
    gets `gradient_flow.csv`, with a row for each step and layer, and, when training ends or breaks off,
    `gradient_flow.png` and `gradient_flow.svg`. A run that goes on keeps the rows that it has. While a step is
    measured, a second copy of the weights is held.

    Args:
        every: Optimiser steps from one measurement to the next; the first step is measured.

    Raises:
        ValueError: `every` is less than 1.
        ImportError: When training starts, if matplotlib is not installed.
    """

    def __init__(self, every: int = 100) -> None:
        if every < 1:
            raise ValueError(f"every is a number of steps, at least 1, got {every}")
        self.every = every
        self._rows: list[_Row] = []
        self._measured: _Measured | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a table, or go on with that of the run."""
        require_matplotlib()
        self._measured = None
        if trainer.is_global_zero:
            path = _path(trainer, ".csv")
            self._rows = _read(path, trainer.global_step)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([_Row._fields, *self._rows])

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Take the gradients, and keep the weights as they are before the step."""
        if trainer.global_step % self.every or not trainer.is_global_zero:
            return
        weights = {
            name.removesuffix(".weight"): parameter
            for name, parameter in pl_module.named_parameters()
            if parameter.ndim > 1 and parameter.grad is not None
        }
        if not weights:
            return
        if all(name.startswith("model.") for name in weights):  # as those of every task here
            weights = {name.removeprefix("model."): parameter for name, parameter in weights.items()}
        gradients = _norms([parameter.grad for parameter in weights.values() if parameter.grad is not None])
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            gradients = gradients / scaler.get_scale()  # in fp16, where a fused optimiser takes the scale off itself
        before = [parameter.detach().clone() for parameter in weights.values()]
        self._measured = _Measured(trainer.global_step, weights, before, gradients)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take what the step changed, and write the row of each layer."""
        measured, self._measured = self._measured, None
        if measured is None:
            return
        weight = _norms(measured.before)
        changed = measured.before  # in place, as memory that is new is most of the time that this takes
        for change, after in zip(changed, measured.weights.values(), strict=True):
            change.sub_(after.detach())
        update = _norms(changed) / weight
        # The only moment at which the device is waited for.
        columns = torch.stack([measured.gradients, weight, update]).tolist()
        rows = [_Row(measured.step, *values) for values in zip(measured.weights, *columns, strict=True)]
        self._rows += rows
        with _path(trainer, ".csv").open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        values = {}
        for row in rows:
            values[f"gradient_norm/{row.layer}"] = row.gradient
            values[f"weight_norm/{row.layer}"] = row.weight
            values[f"update_ratio/{row.layer}"] = row.update
        for logger in trainer.loggers:
            # Three columns a layer would make its table unreadable, and this callback has one of its own.
            if not isinstance(logger, CSVLogger):
                logger.log_metrics(values, step=measured.step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the figure."""
        if self._rows and trainer.is_global_zero:
            _draw(self._rows, _numbers(self._rows, pl_module), _path(trainer, ""))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draw the figure of what there is: a run that diverged is the one to look into."""
        self.on_train_end(trainer, pl_module)


def _path(trainer: Trainer, suffix: str) -> Path:
    return Path(trainer.default_root_dir) / f"gradient_flow{suffix}"


def _read(path: Path, done: int) -> list[_Row]:
    """Return the rows of the steps that are done; the last line of a process that was killed may be half a line."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["update"] and int(row["step"]) < done]
    return [
        _Row(int(row["step"]), row["layer"], float(row["gradient"]), float(row["weight"]), float(row["update"]))
        for row in rows
    ]


def _norms(tensors: list[Tensor]) -> Tensor:
    return torch.stack([torch.linalg.vector_norm(tensor, dtype=torch.float32) for tensor in tensors])


def _numbers(rows: list[_Row], pl_module: LightningModule) -> dict[str, int]:
    """Number the layers from the input; rows come in another order where fine-tuning thaws the last layers first."""
    measured = dict.fromkeys(row.layer for row in rows)
    names = [name.removesuffix(".weight") for name, _ in pl_module.named_parameters()]
    ordered = [name for full in names for name in (full, full.removeprefix("model.")) if name in measured]
    # At the end what only the rows of an earlier run have.
    return {name: number for number, name in enumerate(dict.fromkeys([*ordered, *measured]), start=1)}


def _draw(rows: list[_Row], layers: Mapping[str, int], path: Path) -> None:
    steps = sorted({row.step for row in rows})
    count = min(len(steps), _SHOWN)
    shown = [steps[round(place * (len(steps) - 1) / max(count - 1, 1))] for place in range(count)]
    figure, panels = new_figure(3, height=2.6)
    columns = ("gradient", "weight", "update")
    labels = ("norm of the gradient", "norm of the weight", "update ratio")
    for panel, column, label in zip(panels, columns, labels, strict=True):
        for number, step in enumerate(shown):
            # From light to black, and each with a mark of its own.
            grey = str(0.75 * (1 - (number + 1) / count))
            points = [(layers[row.layer], getattr(row, column)) for row in rows if row.step == step]
            xs, ys = zip(*points, strict=True)
            panel.plot(xs, ys, color=grey, marker="osD^v"[number], markersize=3, linewidth=1.2, label=f"step {step}")
        panel.set_yscale("log", nonpositive="mask")
        panel.set_ylabel(label)
    panels[0].legend(ncols=count, fontsize="small", frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1))
    panels[-1].set_xlabel("convolution or fully connected layer, counted from the input")
    save_figure(figure, path)
