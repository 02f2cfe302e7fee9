"""One class for a picture."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, final

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from resvision.batch import ClassificationBatch
from resvision.losses import ClassificationLoss, classification_loss
from resvision.tasks.calibration import TemperatureSearch
from resvision.tasks.classification_evaluation import ClassificationEvaluation
from resvision.tasks.finetuning import FineTune
from resvision.tasks.labelling import LabelTask
from resvision.tasks.schedules import WarmupCosine

__all__ = ["ClassificationTask"]


@final
class ClassificationTask(LabelTask):
    """Train and score a classifier of classes that exclude each other.

    Logs, under `val/` and `test/`: `loss`, `accuracy`, with more than 5 classes `accuracy_top5`, the means over the
    classes `precision`, `recall` and `f1`, `calibration_error`, and with up to 30 classes `precision/<class>`,
    `recall/<class>` and `f1/<class>`. What the split cannot say of a class is `nan` and no part of the means. Under
    `train/` stand the `loss` and, unless pictures are mixed, the `accuracy` on the pictures as they are augmented.

    A network is often more confident than right. While training, each validation finds the temperature by which to
    divide the logits (Guo et al. 2017, arXiv:1706.04599, section 4.2); it is in the checkpoint of these weights, and in
    the probabilities. `validate` and `test` report the `calibration_error` without it and `calibration_error_scaled`
    with it; the first of the two splits is that on which it was found.

    Args:
        class_names: One name per class, in the order of their numbers; at least 2.
        backbone: Encoder, by its name in the registry.
        weights: Pretrained weights of the encoder: a file, `timm/<tag>`, `torchvision/<name>`, `hf-hub:<repository>` or
            a URL that ends in `#sha256=<digest>`. Read once: a checkpoint of the task holds the trained ones and does
            not ask for these again.
        backbone_options: Further options of the backbone, by name.
        in_channels: Channels of the pictures.
        finetune: How to carry the weights over to these pictures: a preset, `head`, `gradual` or `full`, or a preset
            with changes to its settings; None trains all parts alike. See `FineTuning`.
        dropout: Share of the pooled channels that is dropped while training, from 0 to below 1.
        loss: `cross_entropy`; `binary_cross_entropy`, of each class by itself, as newer recipes have it; or `focal`,
            which counts easy pictures less.
        label_smoothing: Share of the truth that is spread evenly over all classes, from 0 to below 1 (Szegedy et al.
            2015, arXiv:1512.00567, section 7).
        class_weights: Weight of each class in the loss, above 0; None counts every picture the same.
        optimizer: Builds the optimiser from parameter groups.
        scheduler: Builds the schedule from the optimiser; None keeps the learning rate.

    Raises:
        ValueError: Fewer than 2 classes, a repeated class name, an unknown backbone, option or set of weights, or a
            number out of range.
    """

    monitor: ClassVar[str] = "val/accuracy"
    mode: ClassVar[Literal["min", "max"]] = "max"

    temperature: Tensor

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        backbone: str = "resnet18",
        weights: str | None = None,
        backbone_options: dict[str, Any] | None = None,
        in_channels: int = 3,
        finetune: FineTune = None,
        dropout: float = 0.0,
        loss: ClassificationLoss = "cross_entropy",
        label_smoothing: float = 0.0,
        class_weights: list[float] | None = None,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, fused=True),
        scheduler: LRSchedulerCallable | None = WarmupCosine,
    ) -> None:
        super().__init__(
            class_names,
            backbone=backbone,
            weights=weights,
            backbone_options=backbone_options,
            in_channels=in_channels,
            finetune=finetune,
            dropout=dropout,
            loss=loss,
            label_smoothing=label_smoothing,
            class_weights=class_weights,
            optimizer=optimizer,
            scheduler=scheduler,
        )
        self.save_hyperparameters(ignore=["optimizer", "scheduler"], logger=False)
        if len(class_names) < 2:
            raise ValueError(f"classification tells 2 or more classes apart, got {len(class_names)}")
        self.register_buffer("temperature", torch.ones(()))
        self.evaluation = ClassificationEvaluation(class_names)
        self.temperature_search = TemperatureSearch()

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the loss; labels are (N,), or (N, num_classes) of mixed pictures."""
        return classification_loss(
            logits,
            label,
            loss=self.loss_name,
            class_weights=self.class_weights,
            label_smoothing=self.label_smoothing,
        )

    def probabilities(self, images: Tensor) -> Tensor:
        """Map pixels (N, C, H, W) to calibrated probabilities (N, num_classes), in fp32; each row sums to 1."""
        logits: Tensor = self(images)
        return (logits.float() / self.temperature).softmax(dim=1)

    def reset_evaluation(self) -> None:
        """Forget the last evaluation."""
        self.evaluation.reset()
        self.temperature_search.reset()

    def evaluate(self, batch: ClassificationBatch) -> None:
        """Count the pictures of a batch."""
        logits, label = self(batch["image"]), batch["label"]
        if self._is_fitting:
            self.temperature_search.update(logits, label)
        temperature = None if self._is_fitting else self.temperature
        self.evaluation.update(logits, batch, self.loss(logits, label), temperature=temperature)

    def on_validation_epoch_end(self) -> None:
        """Find the temperature of the present weights while training, and log the scores."""
        super().on_validation_epoch_end()
        # Before the checkpoint is written, so that it has the temperature that belongs to its weights.
        if self._is_fitting and not self.trainer.sanity_checking:
            self.temperature.copy_(self.temperature_search.compute())

    @property
    def _is_fitting(self) -> bool:
        return self._trainer is not None and self.trainer.state.fn == "fit"

    def scores(self) -> Mapping[str, float]:
        """Return the scores of what was counted."""
        return self.evaluation.scores(scaled=not self._is_fitting)

    def tables(self) -> dict[str, list[list[Any]]]:
        """Return the confusion matrix of the last evaluation: a row for each true class, a column for each said one."""
        return self.evaluation.tables()

    def report(self) -> str:
        """Return a table of the last evaluation, class by class, and the confusions that are most frequent.

        Of more than 30 classes it shows those with the lowest F1.
        """
        return self.evaluation.report()
