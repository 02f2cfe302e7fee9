"""Logits and targets to numbers: pure functions, and one module that adds them up."""

from resvision.losses.boxes import box_giou, box_iou, quality_focal_loss, sigmoid_focal_loss
from resvision.losses.classification import ClassificationLoss, classification_loss, multi_label_loss
from resvision.losses.pixel import cross_entropy, dice_loss, focal_loss
from resvision.losses.task_weighting import FixedWeights, TaskWeighting, UncertaintyWeights
from resvision.losses.weighted_sum import LOSSES, PixelLoss, WeightedSum

__all__ = [
    "LOSSES",
    "ClassificationLoss",
    "FixedWeights",
    "PixelLoss",
    "TaskWeighting",
    "UncertaintyWeights",
    "WeightedSum",
    "box_giou",
    "box_iou",
    "classification_loss",
    "cross_entropy",
    "dice_loss",
    "focal_loss",
    "multi_label_loss",
    "quality_focal_loss",
    "sigmoid_focal_loss",
]
