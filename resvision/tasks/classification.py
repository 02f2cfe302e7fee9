"""One class for a picture."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, final

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torchmetrics import MeanMetric

from resvision.batch import ClassificationBatch
from resvision.losses import ClassificationLoss, classification_loss
from resvision.tasks.calibration import CalibrationError, TemperatureSearch
from resvision.tasks.confusion import ClassificationScores, ConfusionMatrix
from resvision.tasks.finetuning import FineTune
from resvision.tasks.labelling import LabelTask
from resvision.tasks.schedules import WarmupCosine

__all__ = ["ClassificationTask"]

#: With more classes than these, none is logged by itself, and the report shows the worst ones.
_MOST_LISTED: Final = 30
#: Confusions that the report names.
_MOST_CONFUSED: Final = 5
#: No class has this number; there may be more than 255.
_NO_CLASS: Final = -1


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
        weights: Pretrained weights of the encoder: a file, `timm/<tag>` or `torchvision/<name>`. Read once: a
            checkpoint of the task holds the trained ones and does not ask for these again.
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
        class_names: list[str],
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
        self.top5 = MeanMetric(nan_strategy="disable") if len(class_names) > 5 else None
        self.confusion = ConfusionMatrix(len(class_names), ignore_index=_NO_CLASS)
        self.calibration_error = CalibrationError()
        self.scaled_calibration_error = CalibrationError()
        self.temperature_search = TemperatureSearch()
        self._last_counts: Tensor | None = None
        self._last_overall: dict[str, float] = {}

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
        metrics = (self.evaluation_loss, self.top5, self.confusion, self.calibration_error)
        for metric in (*metrics, self.scaled_calibration_error, self.temperature_search):
            if metric is not None:
                metric.reset()

    def evaluate(self, batch: ClassificationBatch) -> None:
        """Count the pictures of a batch."""
        logits, label = self(batch["image"]), batch["label"]
        # Each picture counts once, in a last batch that is smaller too; torchmetrics ignores weights here.
        self.evaluation_loss.update(self.loss(logits, label).expand(len(label)))
        if self.top5 is not None:
            self.top5.update((logits.topk(5).indices == label[:, None]).any(dim=1).float())
        self.confusion.update(logits.argmax(dim=1), label)
        self.calibration_error.update(logits, label)
        if self._is_fitting:
            self.temperature_search.update(logits, label)
        else:
            self.scaled_calibration_error.update(logits / self.temperature, label)

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
        counts: Tensor = self.confusion.compute().cpu()
        scores = ClassificationScores.of(counts)
        overall = {"accuracy": scores.accuracy.item()}
        if self.top5 is not None:
            overall["accuracy_top5"] = self.top5.compute().item()
        means = {name: getattr(scores, f"mean_{name}").item() for name in ("precision", "recall", "f1")}
        overall["calibration_error"] = self.calibration_error.compute().item()
        if not self._is_fitting:
            overall["calibration_error_scaled"] = self.scaled_calibration_error.compute().item()
        self._last_counts, self._last_overall = counts, overall
        result = {"loss": self.evaluation_loss.compute().item()} | overall | means
        if len(self.class_names) <= _MOST_LISTED:
            for score in ("precision", "recall", "f1"):
                values = getattr(scores, score).tolist()
                result |= {f"{score}/{name}": value for name, value in zip(self.class_names, values, strict=True)}
        return result

    def tables(self) -> dict[str, list[list[Any]]]:
        """Return the confusion matrix of the last evaluation: a row for each true class, a column for each said one."""
        if self._last_counts is None:
            return {}
        rows = zip(self.class_names, self._last_counts.tolist(), strict=True)
        return {"confusion": [["true class", *self.class_names], *([name, *counts] for name, counts in rows)]}

    def report(self) -> str:
        """Return a table of the last evaluation, class by class, and the confusions that are most frequent.

        Of more than 30 classes it shows those with the lowest F1.
        """
        if self._last_counts is None:
            return "nothing was evaluated yet"
        scores = ClassificationScores.of(self._last_counts)
        columns = (scores.precision, scores.recall, scores.f1, scores.pictures)
        rows = list(zip(self.class_names, *(column.tolist() for column in columns), strict=True))
        shown = rows
        if len(rows) > _MOST_LISTED:
            shown = sorted(rows, key=lambda row: math.inf if math.isnan(row[3]) else row[3])[:_MOST_LISTED]
        overall = {name.replace("_", " "): value for name, value in self._last_overall.items()}
        width = max(map(len, (*overall, *(row[0] for row in shown))))
        lines = [f"{'class':{width}}  precision  recall      F1  pictures"]
        for name, precision, recall, f1, pictures in shown:
            lines.append(f"{name:{width}}     {_cell(precision)}  {_cell(recall)}  {_cell(f1)}  {pictures:8}")
        if len(shown) < len(rows):
            lines.append(f"({len(rows) - len(shown)} classes with a higher F1 are not shown)")
        means = [_cell(mean.item()) for mean in (scores.mean_precision, scores.mean_recall, scores.mean_f1)]
        lines.append(f"{'mean':{width}}     {means[0]}  {means[1]}  {means[2]}  {sum(row[4] for row in rows):8}")
        lines += [f"{name:{width}}     {_cell(value)}" for name, value in overall.items()]
        return "\n".join([*lines, *_confusions(self._last_counts, self.class_names)])


def _confusions(counts: Tensor, class_names: tuple[str, ...]) -> list[str]:
    """Return a line for each of the most frequent confusions, and a title if there is any."""
    wrong = counts.clone().fill_diagonal_(0).flatten()
    most, cells = wrong.topk(min(_MOST_CONFUSED, len(wrong)))
    lines = [
        f"  {class_names[cell // len(class_names)]} taken for {class_names[cell % len(class_names)]}: {count}"
        for count, cell in zip(most.tolist(), cells.tolist(), strict=True)
        if count
    ]
    return ["most frequent confusions", *lines] if lines else []


def _cell(score: float) -> str:
    return f"{'-':>6}" if score != score else f"{score:6.3f}"
