"""Any number of classes for a picture."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, final

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision

from resvision.batch import MultiLabelBatch
from resvision.losses import multi_label_loss
from resvision.tasks.answers import Answers
from resvision.tasks.finetuning import FineTune
from resvision.tasks.labelling import LabelTask
from resvision.tasks.precise import PictureMean
from resvision.tasks.schedules import WarmupCosine
from resvision.tasks.tables import MOST_LISTED, cell, worst

__all__ = ["MultiLabelTask"]

_THRESHOLD: Final = 0.5  # of the probability, for precision, recall and F1


@final
class MultiLabelTask(LabelTask):
    """Train and score a classifier of classes that do not exclude each other: each has a probability of its own.

    Logs, under `val/` and `test/`: `loss`, `map` (mean over the classes of the average precision), `f1` (mean over the
    classes, at a probability of 0.5), and with up to 30 classes `ap/<class>`, `precision/<class>`, `recall/<class>` and
    `f1/<class>`. Classes of which the split has no picture are `nan` and no part of the means.

    Args:
        class_names: One name per class, in the order of their numbers.
        backbone: Encoder, by its name in the registry.
        weights: Pretrained weights of the encoder: a file, `timm/<tag>`, `torchvision/<name>`, `hf-hub:<repository>` or
            a URL that ends in `#sha256=<digest>`. Read once: a checkpoint of the task holds the trained ones and does
            not ask for these again.
        backbone_options: Further options of the backbone, by name.
        in_channels: Channels of the pictures.
        finetune: How to carry the weights over to these pictures: a preset, `head`, `gradual` or `full`, or a preset
            with changes to its settings; None trains all parts alike. See `FineTuning`.
        dropout: Share of the pooled channels that is dropped while training, from 0 to below 1.
        loss: `binary_cross_entropy`, or `focal`, which counts easy answers less.
        label_smoothing: How far the truth is moved from 0 and 1 to 1/2, from 0 to below 1.
        class_weights: Weight of the answers about each class in the loss, above 0; None counts all the same.
        optimizer: Builds the optimiser from parameter groups.
        scheduler: Builds the schedule from the optimiser; None keeps the learning rate.

    Raises:
        ValueError: A repeated class name, an unknown backbone, option or set of weights, or a number out of range.
    """

    monitor: ClassVar[str] = "val/map"
    mode: ClassVar[Literal["min", "max"]] = "max"

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
        loss: Literal["binary_cross_entropy", "focal"] = "binary_cross_entropy",
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
        self.evaluation_loss = PictureMean()
        classes = len(class_names)
        self.answers = Answers(torch.zeros(0, classes), torch.zeros(0, classes, dtype=torch.bool))
        self._last_scores: dict[str, list[float]] | None = None

    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the loss; labels are (N, num_classes), from 0 to 1."""
        return multi_label_loss(
            logits,
            label,
            loss=self.loss_name,
            class_weights=self.class_weights,
            label_smoothing=self.label_smoothing,
        )

    def probabilities(self, images: Tensor) -> Tensor:
        """Map pixels (N, C, H, W) to a probability of each class by itself, (N, num_classes), in fp32."""
        logits: Tensor = self(images)
        return logits.float().sigmoid()

    def reset_evaluation(self) -> None:
        """Forget the last evaluation."""
        self.evaluation_loss.reset()
        self.answers.reset()

    def evaluate(self, batch: MultiLabelBatch) -> None:
        """Keep the answers about the pictures of a batch."""
        logits, label = self(batch["image"]), batch["label"]
        self.evaluation_loss.update(self.loss(logits, label), len(label))
        self.answers.update(logits.float().sigmoid(), label > 0.5)

    def scores(self) -> Mapping[str, float]:
        """Return the scores of what was kept."""
        scores = _scores(*(part.cpu() for part in self.answers.compute()))
        self._last_scores = {name: values.tolist() for name, values in scores.items()}
        result = {"loss": self.evaluation_loss.compute().item()}
        result |= {"map": scores["ap"].nanmean().item(), "f1": scores["f1"].nanmean().item()}
        if len(self.class_names) <= MOST_LISTED:
            for score in ("ap", "precision", "recall", "f1"):
                values = self._last_scores[score]
                result |= {f"{score}/{name}": value for name, value in zip(self.class_names, values, strict=True)}
        return result

    def report(self) -> str:
        """Return a table of the last evaluation, class by class; of more than 30 those with the lowest AP."""
        if self._last_scores is None:
            return "nothing was evaluated yet"
        scores = self._last_scores
        names = ("ap", "precision", "recall", "f1")
        rows = list(zip(self.class_names, *(scores[name] for name in names), scores["pictures"], strict=True))
        shown = worst(rows, 1)
        width = max(5, *(len(row[0]) for row in shown))
        lines = [f"{'class':{width}}      AP  precision  recall      F1  pictures"]
        for name, ap, precision, recall, f1, pictures in shown:
            lines.append(
                f"{name:{width}}  {cell(ap)}     {cell(precision)}  {cell(recall)}  {cell(f1)}  {pictures:8.0f}"
            )
        if len(shown) < len(rows):
            lines.append(f"({len(rows) - len(shown)} classes with a higher AP are not shown)")
        means = [cell(torch.tensor(scores[name]).nanmean().item()) for name in names]
        return "\n".join([*lines, f"{'mean':{width}}  {means[0]}     {means[1]}  {means[2]}  {means[3]}"])


def _scores(probability: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Return scores (K,) of probabilities and truths (N, K)."""
    said, true = probability >= _THRESHOLD, truth.bool()
    hit, claimed, pictures = (part.sum(dim=0).double() for part in (said & true, said, true))
    found = pictures > 0
    ap = torch.full_like(pictures, torch.nan)
    for k in torch.nonzero(found).flatten().tolist():
        ap[k] = binary_average_precision(probability[:, k], true[:, k].long(), validate_args=False)
    f1 = torch.where(found, 2 * hit / (claimed + pictures), torch.nan)
    return {"ap": ap, "precision": hit / claimed, "recall": hit / pictures, "f1": f1, "pictures": pictures}
