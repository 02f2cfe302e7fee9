"""Objects in boxes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, final, get_args

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torchmetrics import MeanMetric

from resvision.backbones import create_backbone
from resvision.batch import DetectionBatch
from resvision.layers import check_choice
from resvision.models import Detection, Detector, Target, TorchvisionDetector
from resvision.models.detector import Assignment, Quality, rescale
from resvision.models.torchvision_detector import TorchvisionKind
from resvision.tasks.base import VisionTask
from resvision.tasks.box_scores import LEAST_SCORE, AveragePrecision, BoxConfusion, BoxScores
from resvision.tasks.finetuning import FineTune
from resvision.tasks.schedules import WarmupCosine

__all__ = ["DetectionTask"]

#: With more classes than these, none is logged by itself, and the report shows the worst ones.
_MOST_LISTED: Final = 30
#: Confusions that the report names.
_MOST_CONFUSED: Final = 5


@final
class DetectionTask(VisionTask):
    """Train and score a detector.

    Logs, under `val/` and `test/`: `loss`; average precision as COCO counts it, in pixels of the original pictures:
    `map`, `map_50`, `map_75`, `map_small`, `map_medium`, `map_large`; `recall`; and with up to 30 classes
    `ap/<class>`. What the split has no objects for is `nan`.

    Args:
        class_names: One name per class, in the order of their numbers; there is none for the background.
        model: `detector` is resvision's own; the others are torchvision's, to compare with. They know no other size
            than their own: `strides`, `channels`, `assignment`, `quality` and `nms_threshold` are of `detector` alone.
        backbone: Encoder, by its name in the registry.
        weights: Pretrained weights of the encoder: a file, `timm/<tag>` or `torchvision/<name>`. Read once: a
            checkpoint of the task holds the trained ones and does not ask for these again.
        backbone_options: Further options of the backbone, by name.
        in_channels: Channels of the pictures.
        input_size: To what pictures are resized before they are given to the model, which a checkpoint tells those who
            predict: the length of the short side, or a height and width to fit into. From the command line it is that
            of the data; None takes pictures as they are.
        finetune: How to carry the weights over to these pictures: a preset, `head`, `gradual` or `full`, or a preset
            with changes to its settings; None trains all parts alike. See `FineTuning`.
        strides: Strides of the pyramid's levels, fine to coarse; by default 8, 16, 32, 64, 128.
        channels: Channels of the pyramid and of the head; fewer are faster.
        assignment: How places are given objects to find while training: `atss`, or `fcos`.
        quality: What tells how good a box is: `centerness`, or `iou`, which quality focal loss puts into the score.
        nms_threshold: Of boxes of one class that overlap by more, the surest stays.
        optimizer: Builds the optimiser from parameter groups.
        scheduler: Builds the schedule from the optimiser; None keeps the learning rate.

    Raises:
        ValueError: No class, a repeated class name, or an unknown backbone, option, stride or set of weights.
    """

    monitor: ClassVar[str] = "val/map"
    mode: ClassVar[Literal["min", "max"]] = "max"

    model: Detector | TorchvisionDetector

    def __init__(
        self,
        class_names: list[str],
        *,
        model: Literal["detector"] | TorchvisionKind = "detector",
        backbone: str = "resnet18",
        weights: str | None = None,
        backbone_options: dict[str, Any] | None = None,
        in_channels: int = 3,
        input_size: int | tuple[int, int] | None = None,
        finetune: FineTune = None,
        strides: list[int] | None = None,
        channels: int = 256,
        assignment: Assignment = "atss",
        quality: Quality = "centerness",
        nms_threshold: float = 0.6,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, fused=True),
        scheduler: LRSchedulerCallable | None = WarmupCosine,
    ) -> None:
        super().__init__(class_names, optimizer=optimizer, scheduler=scheduler, finetune=finetune)
        self.save_hyperparameters(ignore=["optimizer", "scheduler"], logger=False)
        check_choice("model", model, ("detector", *get_args(TorchvisionKind)))
        if not class_names:
            raise ValueError("detection needs at least one class of objects")
        encoder = create_backbone(backbone, weights=weights, in_channels=in_channels, **(backbone_options or {}))
        self.input_statistics = encoder.input_statistics
        self.input_size = input_size
        if model == "detector":
            self.model = Detector(
                encoder,
                len(class_names),
                strides=strides or (8, 16, 32, 64, 128),
                channels=channels,
                assignment=assignment,
                quality=quality,
                nms_threshold=nms_threshold,
            )
        else:
            self.model = TorchvisionDetector(encoder, len(class_names), model)
        # Batches come this way too; convolutions are up to four times as fast for it, on a CPU as well.
        self.model.to(memory_format=torch.channels_last)
        self.evaluation_loss = MeanMetric(nan_strategy="disable")  # the other strategies wait for the device
        self.average_precision = AveragePrecision(len(class_names))
        self.confusion = BoxConfusion(len(class_names))
        self._last_scores: BoxScores | None = None
        self._last_counts = torch.zeros(0)

    def forward(self, images: Tensor, sizes: Tensor | None = None) -> list[Detection]:
        """Map pixels (N, C, H, W), uint8, uint16 or floating in 0..1, to what is found, in pixels of `images`.

        Args:
            images: The pictures.
            sizes: (N, 2), height and width of their content, where the rest is padding.
        """
        found: list[Detection] = self.model(images, sizes=sizes)
        return found

    def training_loss(self, batch: DetectionBatch) -> Tensor:
        """Return the sum of the losses."""
        return torch.stack([*self.model(batch["image"], _targets(batch)).values()]).sum()

    def reset_evaluation(self) -> None:
        """Forget the last evaluation."""
        for metric in (self.evaluation_loss, self.average_precision, self.confusion):
            metric.reset()

    def evaluate(self, batch: DetectionBatch) -> None:
        """Count the pictures of a batch, in pixels of the original ones."""
        if isinstance(self.model, Detector):
            said = self.model.say(batch["image"])
            losses = torch.stack([*self.model.losses(said, _targets(batch)).values()]).sum()
            # Each picture counts once, in a last batch that is smaller too; torchmetrics ignores weights here.
            self.evaluation_loss.update(losses.expand(len(batch["boxes"])))
            found = self.model.detections(said, batch["size"])
        else:
            found = self(batch["image"], batch["size"])
        originals = [
            _plain(rescale(one, (now[0], now[1]), (before[0], before[1])))
            for one, now, before in zip(found, batch["size"].tolist(), batch["original_size"].tolist(), strict=True)
        ]
        factors = (batch["original_size"] / batch["size"]).flip(1).repeat(1, 2)
        truth = [
            {"boxes": boxes * factor, "labels": labels, "iscrowd": crowd.long(), "area": area}
            for boxes, factor, labels, crowd, area in zip(
                batch["boxes"], factors, batch["labels"], batch["crowd"], batch["area"], strict=True
            )
        ]
        self.average_precision.update(originals, truth, batch["index"])
        self.confusion.update(originals, truth)

    def scores(self) -> Mapping[str, float]:
        """Return the scores of what was counted."""
        scores: BoxScores = self.average_precision.compute()
        self._last_scores, self._last_counts = scores, self.confusion.compute().cpu()
        result = dict(scores.overall)
        if isinstance(self.model, Detector):  # torchvision's tell no losses in evaluation
            result["loss"] = self.evaluation_loss.compute().item()
        if len(self.class_names) <= _MOST_LISTED:
            result |= {f"ap/{name}": ap for name, ap in zip(self.class_names, scores.ap, strict=True)}
        return result

    def report(self) -> str:
        """Return a table of the last evaluation, class by class, by size, and the confusions that are most frequent.

        Of more than 30 classes it shows those with the lowest AP.
        """
        scores, counts = self._last_scores, self._last_counts
        if scores is None:
            return "nothing was evaluated yet"
        objects = counts.sum(dim=1).tolist()
        rows = list(
            zip(self.class_names, scores.ap, scores.ap_50, objects[:-1], counts.diagonal().tolist(), strict=False)
        )
        shown = rows
        if len(rows) > _MOST_LISTED:
            shown = sorted(rows, key=lambda row: math.inf if math.isnan(row[1]) else row[1])[:_MOST_LISTED]
        overall = scores.overall
        sizes = [(name, overall[f"map_{name}"]) for name in ("small", "medium", "large")]
        width = max(map(len, ("medium objects", *(row[0] for row in shown))))
        lines = [f"{'class':{width}}      AP    AP50    AP75  objects    found"]
        for name, ap, ap_50, count, found in shown:
            lines.append(f"{name:{width}}  {_cell(ap)}  {_cell(ap_50)}          {count:7}  {found:7}")
        if len(shown) < len(rows):
            lines.append(f"({len(rows) - len(shown)} classes with a higher AP are not shown)")
        means = "  ".join(_cell(overall[name]) for name in ("map", "map_50", "map_75"))
        total = sum(objects[:-1])
        lines.append(f"{'mean':{width}}  {means}  {total:7}  {sum(row[4] for row in rows):7}")
        lines += [f"{f'{name} objects':{width}}  {_cell(ap)}" for name, ap in sizes]
        return "\n".join([*lines, *_confusions(counts, (*self.class_names, "background"))])


def _targets(batch: DetectionBatch) -> list[Target]:
    return [
        Target(boxes=boxes, labels=labels, crowd=crowd)
        for boxes, labels, crowd in zip(batch["boxes"], batch["labels"], batch["crowd"], strict=True)
    ]


def _plain(found: Detection) -> dict[str, Tensor]:
    return {"boxes": found["boxes"], "scores": found["scores"], "labels": found["labels"]}


def _confusions(counts: Tensor, names: Sequence[str]) -> list[str]:
    """Return a line for each of the most frequent confusions, the background's too, and a title if there is any."""
    wrong = counts.clone().fill_diagonal_(0).flatten()
    most, cells = wrong.topk(min(_MOST_CONFUSED, len(wrong)))
    lines = [
        f"  {names[cell // len(names)]} taken for {names[cell % len(names)]}: {count}"
        for count, cell in zip(most.tolist(), cells.tolist(), strict=True)
        if count
    ]
    return [f"most frequent confusions, of boxes with a score of {LEAST_SCORE} or more", *lines] if lines else []


def _cell(score: float) -> str:
    return f"{'-':>6}" if score != score else f"{score:6.3f}"
