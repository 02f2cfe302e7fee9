"""A class for every pixel."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, final

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from resvision.batch import IGNORE_INDEX, SegmentationBatch
from resvision.losses import WeightedSum
from resvision.models import ResUNet
from resvision.tasks.base import VisionTask
from resvision.tasks.finetuning import FineTune
from resvision.tasks.networks import build_encoder, in_channels_last
from resvision.tasks.schedules import WarmupCosine
from resvision.tasks.segmentation_evaluation import SegmentationEvaluation

__all__ = ["SegmentationTask"]


@final
class SegmentationTask(VisionTask):
    """Train and score a ResUNet.

    Logs, under `val/` and `test/`: `loss`, `miou`, `iou/<class>`, `dice`, `pixel_accuracy`. All but the loss come from
    one confusion matrix over the whole split; a class without a true pixel in it is `nan` and no part of
    the means.

    Args:
        class_names: One name per class, in the order of their numbers in the masks; 2 to 255.
        backbone: Encoder, by its name in the registry.
        weights: Pretrained weights of the encoder: a file, `timm/<tag>`, `torchvision/<name>`, `hf-hub:<repository>` or
            a URL that ends in `#sha256=<digest>`. Read once: a checkpoint of the task holds the trained ones and does
            not ask for these again.
        backbone_options: Further options of the backbone, by name.
        in_channels: Channels of the pictures.
        finetune: How to carry the weights over to these pictures: a preset, `head`, `gradual` or `full`, or a preset
            with changes to its settings; None trains all parts alike. See `FineTuning`.
        losses: Weight of each loss by name; by default cross-entropy and Dice, 1 each.
        class_weights: Weight of each class in the cross-entropy; None counts every pixel the same.
        decoder_stride: Stride at which the decoder ends, one of the backbone's; a smaller one costs time.
        decoder_widths: Channels after each step of the decoder, coarse to fine; by default those of
            `UNetDecoder`.
        optimizer: Builds the optimiser from parameter groups.
        scheduler: Builds the schedule from the optimiser; None keeps the learning rate.

    Raises:
        ValueError: Fewer than 2 or more than 255 classes, a repeated class name, or an unknown backbone,
            option, set of weights or loss.
    """

    labels: ClassVar[str | None] = "mask"
    monitor: ClassVar[str] = "val/miou"
    mode: ClassVar[Literal["min", "max"]] = "max"

    model: ResUNet

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        backbone: str = "resnet18",
        weights: str | None = None,
        backbone_options: dict[str, Any] | None = None,
        in_channels: int = 3,
        finetune: FineTune = None,
        losses: dict[str, float] | None = None,
        class_weights: list[float] | None = None,
        decoder_stride: int = 4,
        decoder_widths: list[int] | None = None,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, fused=True),
        scheduler: LRSchedulerCallable | None = WarmupCosine,
    ) -> None:
        super().__init__(class_names, optimizer=optimizer, scheduler=scheduler, finetune=finetune)
        self.save_hyperparameters(ignore=["optimizer", "scheduler"], logger=False)
        if not 2 <= len(class_names) <= IGNORE_INDEX:
            raise ValueError(
                f"segmentation tells 2 to {IGNORE_INDEX} classes apart, got {len(class_names)}; "
                "the background is a class too"
            )
        encoder = build_encoder(backbone, weights=weights, in_channels=in_channels, options=backbone_options)
        self.model = in_channels_last(
            ResUNet(encoder, len(class_names), decoder_stride=decoder_stride, decoder_widths=decoder_widths)
        )
        if class_weights is not None and len(class_weights) != len(class_names):
            raise ValueError(f"class_weights has {len(class_weights)} numbers for {len(class_names)} classes")
        self.loss = WeightedSum(losses, class_weights=class_weights)
        self.evaluation = SegmentationEvaluation(class_names)

    def forward(self, images: Tensor) -> Tensor:
        """Map pixels (N, C, H, W), uint8, uint16 or floating in 0..1, to logits (N, num_classes, H, W)."""
        logits: Tensor = self.model(images)
        return logits

    def training_loss(self, batch: SegmentationBatch) -> Tensor:
        """Return the weighted sum of the losses."""
        loss: Tensor = self.loss(self(batch["image"]), batch["mask"])
        return loss

    def reset_evaluation(self) -> None:
        """Forget the last evaluation."""
        self.evaluation.reset()

    def evaluate(self, batch: SegmentationBatch) -> None:
        """Count the pixels of a batch."""
        logits = self(batch["image"])
        self.evaluation.update(logits, batch, self.loss(logits, batch["mask"]))

    def scores(self) -> Mapping[str, float]:
        """Return loss, IoU, Dice and pixel accuracy of what was counted."""
        return self.evaluation.scores()

    def report(self) -> str:
        """Return a table of the last evaluation: IoU, Dice and part of the pixels, class by class."""
        return self.evaluation.report()
