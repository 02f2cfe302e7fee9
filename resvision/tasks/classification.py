"""One class for a picture."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, final

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanMetric

from resvision.backbones import create_backbone
from resvision.batch import ClassificationBatch
from resvision.models import Classifier
from resvision.tasks.base import VisionTask
from resvision.tasks.calibration import CalibrationError
from resvision.tasks.confusion import ClassificationScores, ConfusionMatrix
from resvision.tasks.finetuning import FineTune
from resvision.tasks.schedules import WarmupCosine

__all__ = ["ClassificationTask"]

#: With more classes than these, none is logged by itself, and the report shows the worst ones.
_MOST_LISTED: Final = 30
#: Confusions that the report names.
_MOST_CONFUSED: Final = 5
#: No class has this number; there may be more than 255.
_NO_CLASS: Final = -1


@final
class ClassificationTask(VisionTask):
    """Train and score a classifier.

    Logs, under `val/` and `test/`: `loss`, `accuracy`, `f1` (mean over the classes), `calibration_error`, with more
    than 5 classes `accuracy_top5`, and with up to 30 classes `precision/<class>`, `recall/<class>` and `f1/<class>`.

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

    model: Classifier
    class_weights: Tensor | None

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
        label_smoothing: float = 0.0,
        class_weights: list[float] | None = None,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, fused=True),
        scheduler: LRSchedulerCallable | None = WarmupCosine,
    ) -> None:
        super().__init__(class_names, optimizer=optimizer, scheduler=scheduler, finetune=finetune)
        self.save_hyperparameters(ignore=["optimizer", "scheduler"], logger=False)
        if len(class_names) < 2:
            raise ValueError(f"classification tells 2 or more classes apart, got {len(class_names)}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be from 0 to below 1, got {label_smoothing}")
        encoder = create_backbone(backbone, weights=weights, in_channels=in_channels, **(backbone_options or {}))
        self.input_statistics = encoder.input_statistics
        self.model = Classifier(encoder, len(class_names), dropout=dropout)
        # Batches come this way too; convolutions are up to four times as fast for it, on a CPU as well.
        self.model.to(memory_format=torch.channels_last)
        self.label_smoothing = label_smoothing
        # Not persistent: it follows from the arguments, and says nothing about what was learned.
        self.register_buffer("class_weights", _weights_tensor(class_weights, len(class_names)), persistent=False)
        self.evaluation_loss = MeanMetric(nan_strategy="disable")  # the other strategies wait for the device
        self.top5 = MeanMetric(nan_strategy="disable") if len(class_names) > 5 else None
        self.confusion = ConfusionMatrix(len(class_names), ignore_index=_NO_CLASS)
        self.calibration_error = CalibrationError()
        self._last_counts: Tensor | None = None
        self._last_overall: dict[str, float] = {}

    def forward(self, images: Tensor) -> Tensor:
        """Map pixels (N, C, H, W), uint8, uint16 or floating in 0..1, to logits (N, num_classes)."""
        logits: Tensor = self.model(images)
        return logits

    def training_loss(self, batch: ClassificationBatch) -> Tensor:
        """Return the cross-entropy."""
        return self._loss(self(batch["image"]), batch["label"])

    def _loss(self, logits: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(logits, label, self.class_weights, label_smoothing=self.label_smoothing)

    def reset_evaluation(self) -> None:
        """Forget the last evaluation."""
        for metric in (self.evaluation_loss, self.top5, self.confusion, self.calibration_error):
            if metric is not None:
                metric.reset()

    def evaluate(self, batch: ClassificationBatch) -> None:
        """Count the pictures of a batch."""
        logits, label = self(batch["image"]), batch["label"]
        # Each picture counts once, in a last batch that is smaller too; torchmetrics ignores weights here.
        self.evaluation_loss.update(self._loss(logits, label).expand(len(label)))
        if self.top5 is not None:
            self.top5.update((logits.topk(5).indices == label[:, None]).any(dim=1).float())
        self.confusion.update(logits.argmax(dim=1), label)
        self.calibration_error.update(logits, label)

    def scores(self) -> Mapping[str, float]:
        """Return the scores of what was counted."""
        counts: Tensor = self.confusion.compute().cpu()
        scores = ClassificationScores.of(counts)
        overall = {"accuracy": scores.accuracy.item()}
        if self.top5 is not None:
            overall["accuracy_top5"] = self.top5.compute().item()
        overall["f1"] = scores.mean_f1.item()
        overall["calibration_error"] = self.calibration_error.compute().item()
        self._last_counts, self._last_overall = counts, overall
        result = {"loss": self.evaluation_loss.compute().item()} | overall
        if len(self.class_names) <= _MOST_LISTED:
            for score in ("precision", "recall", "f1"):
                values = getattr(scores, score).tolist()
                result |= {f"{score}/{name}": value for name, value in zip(self.class_names, values, strict=True)}
        return result

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
        overall = {name.replace("_", " "): value for name, value in self._last_overall.items() if name != "f1"}
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


def _weights_tensor(class_weights: list[float] | None, num_classes: int) -> Tensor | None:
    if class_weights is None:
        return None
    if len(class_weights) != num_classes:
        raise ValueError(f"class_weights has {len(class_weights)} numbers for {num_classes} classes")
    # A batch of nothing but classes of weight 0 would have a loss of 0 / 0.
    if not (min(class_weights) > 0 and math.isfinite(sum(class_weights))):
        raise ValueError(f"class_weights must be finite numbers above 0, got {class_weights}")
    return torch.tensor(class_weights)


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
