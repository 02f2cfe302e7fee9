"""Losses of what is said of a whole picture: logits (N, K) and the truth to one number, in fp32 at least."""

from typing import Final, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from resvision.layers import check_choice
from resvision.losses.precision import at_least_fp32

__all__ = ["ClassificationLoss", "classification_loss", "multi_label_loss"]

ClassificationLoss = Literal["cross_entropy", "binary_cross_entropy", "focal"]

_GAMMA: Final = 2.0  # Lin et al. 2017, section 4: best of those they tried


def classification_loss(
    logits: Tensor,
    target: Tensor,
    *,
    loss: ClassificationLoss = "cross_entropy",
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Average a loss of exclusive classes over the pictures.

    - `cross_entropy`, of a softmax.
    - `binary_cross_entropy`, of one sigmoid for each class, as if they were independent (Beyer et al. 2020,
      arXiv:2006.07159, section 5; Wightman et al. 2021, arXiv:2110.00476), averaged over the classes too.
    - `focal`, of a softmax: the cross-entropy times (1 - probability of the truth) ** 2, so that what is easy counts
      less (Lin et al. 2017, arXiv:1708.02002, equation 4).

    Args:
        logits: (N, K), floating.
        target: (N,), classes 0 to K - 1; or (N, K), shares of the classes in mixed pictures, that sum to 1.
        loss: Which of them.
        class_weights: (K,). A picture of one class counts as much as that weighs; with `binary_cross_entropy` the
            answers about a class do.
        label_smoothing: Share of the truth that is spread evenly over all classes.

    Raises:
        ValueError: There is no such loss.
    """
    check_choice("loss", loss, get_args(ClassificationLoss))
    logits = at_least_fp32(logits)
    if class_weights is not None:
        class_weights = class_weights.to(logits.dtype)  # torch's cross-entropy wants both of one type
    if loss == "cross_entropy":
        mean = F.cross_entropy(logits, target, class_weights, label_smoothing=label_smoothing)
        if class_weights is None or target.ndim == 1:
            return mean
        # torch divides by the number of pictures here, and by what they weigh where each has one class.
        return mean * len(target) / (target * class_weights).sum()
    classes = logits.shape[1]
    truth = target if target.ndim == 2 else F.one_hot(target, classes)
    truth = truth.to(logits.dtype) * (1 - label_smoothing) + label_smoothing / classes
    if loss == "binary_cross_entropy":
        return F.binary_cross_entropy_with_logits(logits, truth, class_weights)
    log_probability = logits.log_softmax(dim=1)
    weighted = truth if class_weights is None else truth * class_weights
    terms = weighted * -torch.expm1(log_probability).pow(_GAMMA) * log_probability
    return terms.sum() / weighted.sum()


def multi_label_loss(
    logits: Tensor,
    target: Tensor,
    *,
    loss: ClassificationLoss = "binary_cross_entropy",
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Average a loss of classes that do not exclude each other over the pictures and the classes.

    Args:
        logits: (N, K), floating.
        target: (N, K), 1 where the picture shows the class and 0 where not, or in between.
        loss: `binary_cross_entropy`, or `focal` (Lin et al. 2017, equation 4).
        class_weights: (K,). The answers about a class count as much as that weighs.
        label_smoothing: How far the truth is moved from 0 and 1 to 1/2; 1 is all the way.

    Raises:
        ValueError: The loss is of classes that exclude each other, or there is none of its name.
    """
    check_choice("loss", loss, get_args(ClassificationLoss))
    if loss == "cross_entropy":
        raise ValueError("classes that do not exclude each other need the loss binary_cross_entropy or focal")
    logits = at_least_fp32(logits)
    truth = target.to(logits.dtype) * (1 - label_smoothing) + label_smoothing / 2
    terms = F.binary_cross_entropy_with_logits(logits, truth, class_weights, reduction="none")
    if loss == "focal":
        probability = logits.sigmoid()
        # How far the answer is from the truth: 1 minus the probability of the truth where that is 0 or 1.
        terms = terms * (truth - probability).abs().pow(_GAMMA)
    return terms.mean()
