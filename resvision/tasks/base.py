"""What all tasks share: optimiser wiring, logging and what a checkpoint says about its run."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from resvision._version import __version__
from resvision.layers import InputNormalization, InputStatistics
from resvision.tasks.agreement import check_batch, check_checkpoint, check_classes, told_by
from resvision.tasks.builders import Builders
from resvision.tasks.changed_settings import SaidSettings
from resvision.tasks.clipping import clip_gradients
from resvision.tasks.finetuning import FineTune, FineTuner, FineTuning, no_weights
from resvision.tasks.parameters import apply_factors, parameter_groups
from resvision.tasks.plain import make_openable
from resvision.tasks.run_length import check_trainer, steps_of
from resvision.tasks.running_means import RunningMeans
from resvision.tasks.schedules import WarmupCosine, apply_factors_to_cycle, peaks_of, when_to_step

__all__ = ["VisionTask"]


class VisionTask(LightningModule, ABC):
    """A model with its loss, its scores and its optimiser.

    A task says how a batch becomes a loss (`training_loss`) and how an evaluation is counted
    (`reset_evaluation`, `evaluate`, `scores`); this class does the rest. Nothing in a step waits for the
    device: the training loss, and what a task notes beside it, is summed there, and logged every
    `trainer.log_every_n_steps` steps as the mean since it was last logged.

    A task's constructor takes plain data, `backbone`, `weights` and `in_channels` among it, and calls
    `self.save_hyperparameters(ignore=["optimizer", "scheduler"])`, so that its checkpoints load with
    `weights_only=True`.

    Args:
        class_names: One name per class, in the order of their numbers.
        optimizer: Builds the optimiser from parameter groups.
        scheduler: Builds the schedule from the optimiser; None keeps the learning rate. `WarmupCosine`, which is
            told the length of the run, `DropAtSteps`, and torch's `OneCycleLR` and `CyclicLR` are stepped after every
            optimiser step, any other one every epoch, `ReduceLROnPlateau` those that validate.
        finetune: How to carry pretrained weights over to other pictures: a preset, `head`, `gradual` or `full`, or a
            preset with changes; None trains all parts alike.

    Attributes:
        model: The network; set by the task's constructor. It has a `backbone`, and as its
            `normalization` the `InputNormalization` of its pictures.
        labels: Key of a batch below which the labels are, for a message where it is missing; None looks for none.
        monitor: Score that tells the best checkpoint.
        mode: Whether the best is the largest or the smallest.
        image_size: (H, W) of the pictures in the last training batch, None before the first.
        logs_validation_loss: Whether `val/loss` is one of the scores.
    """

    labels: ClassVar[str | None] = None
    monitor: ClassVar[str]
    mode: ClassVar[Literal["min", "max"]]
    model: nn.Module
    logs_validation_loss: bool = True

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None,
        finetune: FineTune = None,
    ) -> None:
        super().__init__()
        if isinstance(class_names, str):
            raise ValueError(f"class_names is a list of names, got {class_names!r}")
        self.class_names = tuple(map(str, class_names))
        repeated = sorted(name for name, count in Counter(self.class_names).items() if count > 1)
        if repeated:
            raise ValueError(f"class names must differ, got {', '.join(map(repr, repeated))} more than once")
        self.image_size: tuple[int, int] | None = None
        self._builders = Builders(type(self), optimizer, scheduler)
        self._finetuning = None if finetune is None else FineTuning.of(finetune)
        self._is_restored = False
        self._means = RunningMeans()
        self._has_new_scores = True  # since a schedule that watches them was stepped
        self._settings = SaidSettings()

    @abstractmethod
    def training_loss(self, batch: Any) -> Tensor:
        """Return the loss of a batch, a scalar."""

    @abstractmethod
    def reset_evaluation(self) -> None:
        """Forget the last evaluation."""

    @abstractmethod
    def evaluate(self, batch: Any) -> None:
        """Count a batch."""

    @abstractmethod
    def scores(self) -> Mapping[str, float]:
        """Return the scores of what was counted, by their names after `val/` and `test/`."""

    @abstractmethod
    def report(self) -> str:
        """Return the last evaluation as a table in plain text."""

    def tables(self) -> dict[str, list[list[Any]]]:
        """Return what else is to be kept of the last evaluation, as rows of tables by their names; by default none."""
        return {}

    @property
    def input_statistics(self) -> InputStatistics:
        """Mean and standard deviation that the model normalises pictures with: of its weights, restored or not.

        Raises:
            TypeError: The model does not say.
        """
        layer = getattr(self.model, "normalization", None)
        if not isinstance(layer, InputNormalization):
            kind = type(self.model).__name__
            raise TypeError(f"{kind} needs a `normalization`, an InputNormalization, to be the model of a task")
        return InputStatistics.of(layer.mean, layer.std)

    def description(self) -> dict[str, Any]:
        """Return plain data that tells a reader of the checkpoint how to use the model.

        Raises:
            TypeError: The model, or the class of the task, does not say.
        """
        statistics = {"mean": list(self.input_statistics.mean), "std": list(self.input_statistics.std)}
        return told_by(self, "backbone", "weights", "in_channels") | {"input_statistics": statistics}

    def setup(self, stage: str) -> None:
        """Refuse data of other classes, and train what `resvision.load` has put into evaluation mode.

        Raises:
            ValueError: The data has other classes, or has them in another order.
            TypeError: The task has not all that its checkpoints are to say.
        """
        self.check_classes(getattr(self.trainer, "datamodule", None))
        if stage == "fit":
            if self.trainer.checkpoint_callbacks:
                self.description()  # else the first checkpoint would miss it, after an epoch
            if not self.training:
                self.train()

    def check_classes(self, data: object) -> None:
        """Compare the classes of a data module, if it says any, with those of this task.

        Raises:
            ValueError: They are others, or in another order.
        """
        theirs = getattr(data, "class_names", None)
        if isinstance(theirs, Sequence):
            check_classes(theirs, self.class_names)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a batch.

        Raises:
            ValueError: The batch has no labels that this task learns from.
        """
        check_batch(batch, type(self).__name__, self.labels)
        height, width = batch["image"].shape[-2:]
        self.image_size = (height, width)
        loss = self.training_loss(batch)
        self.note("loss", loss.detach())
        self._means.end_step()
        return loss

    def note(self, name: str, value: Tensor) -> None:
        """Take a number of a training step, a scalar on the device, into the mean that is logged as `train/<name>`.

        What is noted at one step is noted at each.
        """
        self._means.note(name, value)

    def require_weights(self) -> None:
        """Refuse to fine-tune from random numbers; what comes from a checkpoint has its weights from there.

        Raises:
            ValueError: It was asked for.
        """
        if self._finetuning is not None and self.hparams["weights"] is None and not self._is_restored:
            raise no_weights(self.hparams["backbone"])

    def on_train_start(self) -> None:
        """Begin a mean of the loss, or go on with a checkpoint's; freeze what is frozen in this epoch."""
        self._means.begin(self.trainer.global_step, self.device)
        self._prepare_parts()
        self._settings.apply(self.trainer)

    def on_train_epoch_start(self) -> None:
        """Freeze what is frozen in this epoch."""
        self._prepare_parts()

    def _prepare_parts(self) -> None:
        if self._finetuning is not None:
            FineTuner(self.model, self._finetuning, self).prepare(self.trainer.current_epoch)

    def finetuning_table(self) -> str | None:
        """Return what trains, from when on and how fast, part by part; None unless this is fine-tuning.

        Called in training, when there is an optimiser.
        """
        if self._finetuning is None:
            return None
        optimizer, schedules = self.trainer.optimizers[0], self.trainer.lr_scheduler_configs
        peaks = peaks_of(optimizer, schedules[0].scheduler if schedules else None)
        return FineTuner(self.model, self._finetuning, self).table(peaks)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log the means over the last steps, at the steps at which Lightning hands values to the loggers.

        An epoch that has no such step ends with those so far, for callbacks that look at them.
        """
        step = self.trainer.global_step
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by Lightning's logger connector
        if self._means.are_due(step, every):
            means = self._means.take(step)
        elif every and self.trainer.is_last_batch and self._means.reach_back(batch_idx + 1):
            means = self._means.so_far()
        else:
            return
        self.log("train/loss", means.pop("loss"), prog_bar=True, sync_dist=True)
        self.log_dict({f"train/{name}": value for name, value in means.items()}, sync_dist=True)

    def on_validation_epoch_start(self) -> None:
        """Forget the last evaluation; score what is saved."""
        self.reset_evaluation()
        if self.trainer.world_size > 1:
            # Each process has batch statistics of its own pictures, and the checkpoint has those of the first.
            for buffer in self.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count a batch."""
        check_batch(batch, type(self).__name__, self.labels)
        self.evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the scores under `val/`."""
        self._has_new_scores |= not self.trainer.sanity_checking
        self._log_scores("val/")

    def on_test_epoch_start(self) -> None:
        """Forget the last evaluation."""
        self.reset_evaluation()

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Count a batch."""
        check_batch(batch, type(self).__name__, self.labels)
        self.evaluate(batch)

    def on_test_epoch_end(self) -> None:
        """Log the scores under `test/`."""
        self._log_scores("test/")

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        """Return what the task says of the pictures (N, C, H, W), or of `batch["image"]`; no labels are needed."""
        return self(batch["image"] if isinstance(batch, Mapping) else batch)

    def _log_scores(self, prefix: str) -> None:
        scores = {prefix + name: value for name, value in self.scores().items()}
        if self.monitor in scores:
            self.log(self.monitor, scores.pop(self.monitor), prog_bar=True, sync_dist=True)
        self.log_dict(scores, sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser over named groups of all parameters, and the schedule.

        Raises:
            ValueError: `WarmupCosine` is asked for, but the run has no end; or fine-tuning, but without weights, or of
                a backbone with a parameter that is in no stage; or the trainer would train nothing.
        """
        self.require_weights()
        if self._trainer is not None:
            check_trainer(self._trainer)
        said = self._finetuning
        groups = parameter_groups(self.parameters()) if said is None else FineTuner(self.model, said, self).groups()
        optimizer = self._builders.optimizer(groups)
        apply_factors(optimizer)
        self._settings.note_optimizer(optimizer)
        build = self._builders.scheduler
        scheduler = None if build is None else build(optimizer)
        if isinstance(scheduler, WarmupCosine) and scheduler.total_steps is None:
            scheduler.run_for(steps_of(self.trainer))
        apply_factors_to_cycle(scheduler)
        self._settings.note_schedule(optimizer, scheduler)
        if scheduler is None:
            return optimizer
        when = when_to_step(
            scheduler, self._trainer, monitor=self.monitor, mode=self.mode, has_loss=self.logs_validation_loss
        )
        return {"optimizer": optimizer, "lr_scheduler": when}

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        """Step a schedule; one that watches a validation once for each, as there may be epochs without."""
        if (self.trainer.lr_scheduler_configs[0].monitor or "").startswith("val/"):
            if not self._has_new_scores:
                return
            self._has_new_scores = False
        super().lr_scheduler_step(scheduler, metric)

    def keep_learning_rate(self) -> None:
        """Leave out the schedule."""
        self._builders = replace(self._builders, scheduler=None)

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip as the trainer says, with fused optimisers too.

        Raises:
            ValueError: The optimiser is fused, and the precision `16-mixed`.
        """
        clip_gradients(self, optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a reader needs to know, as plain data; let the first weights not be asked for again."""
        checkpoint["resvision"] = {
            "version": __version__,
            "task": type(self).__name__,
            "class_names": list(self.class_names),
            "image_size": None if self.image_size is None else list(self.image_size),
            "said": self._settings.state(),
            "running_sums": self._means.state(self._mean_of_processes),
            "has_new_scores": self._has_new_scores,
            **self.description(),
        }
        checkpoint[self.CHECKPOINT_HYPER_PARAMS_KEY]["weights"] = None
        make_openable(checkpoint, type(self))

    def _mean_of_processes(self, value: Tensor) -> Tensor:
        if self._trainer is None or self.trainer.world_size == 1:
            return value
        return self.trainer.strategy.reduce(value.clone(), reduce_op="mean")

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take note of the checkpoint; refuse one of another task or of other classes.

        Raises:
            ValueError: It is one.
        """
        self._is_restored = True
        said = checkpoint.get("resvision")
        if said is None:
            return
        check_checkpoint(
            said, task=type(self).__name__, class_names=self.class_names, backbone=self.hparams.get("backbone")
        )
        if said["image_size"] is not None:
            height, width = said["image_size"]
            self.image_size = (height, width)
        # Without a trainer it is only the weights that are taken, and nothing goes on.
        if self._trainer is not None and "running_sums" in said:
            self._means.load_state(said["running_sums"])
            self._settings.load_state(said["said"])
            self._has_new_scores = said.get("has_new_scores", True)
