"""Losses of boxes and of what is in them, in fp32 at least."""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from resvision.losses.precision import at_least_fp32

__all__ = ["box_giou", "box_iou", "quality_focal_loss", "sigmoid_focal_loss"]

_ALPHA: Final = 0.25  # Lin et al. 2017, table 1b
_GAMMA: Final = 2.0
#: Keeps the quotient of two areas finite where boxes have none.
_LEAST_AREA: Final = 1e-7


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union of boxes with boxes, one by one.

    Args:
        first: (..., 4), xyxy.
        second: (..., 4), xyxy, of a shape that fits.

    Returns:
        (...), 0 to 1.
    """
    intersection, union = _overlap(at_least_fp32(first), at_least_fp32(second))
    return intersection / (union + _LEAST_AREA)


def box_giou(first: Tensor, second: Tensor) -> Tensor:
    """Return the generalised intersection over union, which also tells how far boxes lie apart.

    Rezatofighi et al. 2019, arXiv:1902.09630, algorithm 1. The loss is 1 minus it.

    Args:
        first: (..., 4), xyxy.
        second: (..., 4), xyxy, of a shape that fits.

    Returns:
        (...), -1 to 1.
    """
    first, second = at_least_fp32(first), at_least_fp32(second)
    intersection, union = _overlap(first, second)
    sides = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])
    hull = sides.prod(dim=-1)
    return intersection / (union + _LEAST_AREA) - (hull - union) / (hull + _LEAST_AREA)


def _overlap(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the areas of intersection and union."""
    sides = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    intersection = sides.clamp(min=0).prod(dim=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(dim=-1) for boxes in (first, second)]
    return intersection, areas[0] + areas[1] - intersection


def sigmoid_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the focal loss of each answer (Lin et al. 2017, arXiv:1708.02002, equation 5; alpha 1/4, gamma 2).

    Args:
        logits: Any shape.
        target: The same shape, 1 where the class is there and 0 where not.

    Returns:
        The same shape; its sum is usually divided by the number of positive places.
    """
    logits = at_least_fp32(logits)
    target = target.to(logits.dtype)
    probability = logits.sigmoid()
    wrong = probability + target - 2 * probability * target  # 1 minus the probability of the truth
    weight = (1 - _ALPHA) + (2 * _ALPHA - 1) * target
    return weight * wrong**_GAMMA * F.binary_cross_entropy_with_logits(logits, target, reduction="none")


def quality_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the focal loss of each answer towards a quality (Li et al. 2020, arXiv:2006.04388, equation 6; beta 2).

    Args:
        logits: Any shape.
        target: The same shape, 0 to 1: how good the box is there, 0 where the class is not.

    Returns:
        The same shape; its sum is usually divided by the number of positive places.
    """
    logits = at_least_fp32(logits)
    target = target.to(logits.dtype)
    distance = (target - logits.sigmoid()).abs()
    return distance**_GAMMA * F.binary_cross_entropy_with_logits(logits, target, reduction="none")
