"""What the tasks share that say something of a picture as a whole."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, get_args

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from resvision.heads import AUXILIARY_WEIGHT
from resvision.layers import check_choice
from resvision.losses import ClassificationLoss
from resvision.models import Classifier
from resvision.tasks.base import VisionTask
from resvision.tasks.finetuning import FineTune
from resvision.tasks.networks import build_encoder, in_channels_last

__all__ = ["LabelTask"]


class LabelTask(VisionTask, ABC):
    """Train a classifier, and give its probabilities.

    Auxiliary classifiers, of a GoogLeNet whose `out_features` name those that they look at, join the loss of training
    with the paper's weight of 0.3 each.

    Args:
        class_names: One name per class, in the order of their numbers.
        backbone: Encoder, by its name in the registry.
        weights: Pretrained weights of the encoder.
        backbone_options: Further options of the backbone, by name.
        in_channels: Channels of the pictures.
        finetune: How to carry the weights over to these pictures.
        dropout: Share of the pooled channels that is dropped while training, from 0 to below 1.
        loss: By its name.
        label_smoothing: From 0 to below 1.
        class_weights: Weight of each class in the loss, above 0; None counts all the same.
        optimizer: Builds the optimiser from parameter groups.
        scheduler: Builds the schedule from the optimiser; None keeps the learning rate.
    """

    labels: ClassVar[str | None] = "label"
    model: Classifier
    class_weights: Tensor | None

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        backbone: str,
        weights: str | None,
        backbone_options: dict[str, Any] | None,
        in_channels: int,
        finetune: FineTune,
        dropout: float,
        loss: ClassificationLoss,
        label_smoothing: float,
        class_weights: list[float] | None,
        optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None,
    ) -> None:
        super().__init__(class_names, optimizer=optimizer, scheduler=scheduler, finetune=finetune)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be from 0 to below 1, got {label_smoothing}")
        check_choice("loss", loss, get_args(ClassificationLoss))
        encoder = build_encoder(backbone, weights=weights, in_channels=in_channels, options=backbone_options)
        self.model = in_channels_last(Classifier(encoder, len(class_names), dropout=dropout))
        self.loss_name = loss
        self.label_smoothing = label_smoothing
        # Not persistent: it follows from the arguments, and says nothing about what was learned.
        self.register_buffer("class_weights", _weights_tensor(class_weights, len(class_names)), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map pixels (N, C, H, W), uint8, uint16 or floating in 0..1, to logits (N, num_classes)."""
        logits: Tensor = self.model(images)
        return logits

    @abstractmethod
    def loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the loss of logits (N, num_classes), a scalar."""

    @abstractmethod
    def probabilities(self, images: Tensor) -> Tensor:
        """Map pixels (N, C, H, W) to what is believed of each class, (N, num_classes), from 0 to 1, in fp32."""

    def training_loss(self, batch: Any) -> Tensor:
        """Return the loss, with those of the auxiliary classifiers that there are."""
        images, label = batch["image"], batch["label"]
        logits, *auxiliary = self.model.all_logits(images) if self.model.auxiliary else [self(images)]
        if label.ndim == 1:  # otherwise pictures are mixed, or have several labels
            self.note("accuracy", (logits.detach().argmax(dim=1) == label).float().mean())
        total = self.loss(logits, label)
        for other in auxiliary:
            total = total + AUXILIARY_WEIGHT * self.loss(other, label)
        return total


def _weights_tensor(class_weights: list[float] | None, num_classes: int) -> Tensor | None:
    if class_weights is None:
        return None
    if len(class_weights) != num_classes:
        raise ValueError(f"class_weights has {len(class_weights)} numbers for {num_classes} classes")
    # A batch of nothing but classes of weight 0 would have a loss of 0 / 0.
    if not (min(class_weights) > 0 and math.isfinite(sum(class_weights))):
        raise ValueError(f"class_weights must be finite numbers above 0, got {class_weights}")
    return torch.tensor(class_weights, dtype=torch.float32)
