"""Losses of a dense prediction: logits and integer targets to one number.

All three read the number of logits per pixel: one is a binary problem, two or more are exclusive classes. All
work in fp32 at least, whatever autocast says, because sums over a million pixels lose digits in bf16; none
waits for the device, so ignored pixels are weighted by zero and never picked out by a boolean index. A batch
whose pixels are all ignored gives 0 and gradients of 0.

Shapes and values, the same for all:
    logits: (N, K, H, W), floating. K = 1: the logit of the foreground; K >= 2: one logit per class.
    target: (N, H, W), any integer type, 0 to K - 1 (0 or 1 when K = 1), or `ignore_index`.
    result: a scalar, fp32 (fp64 for fp64 logits).

A target of another size than the logits raises a ValueError.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from resvision.batch import IGNORE_INDEX
from resvision.losses.precision import at_least_fp32

__all__ = ["cross_entropy", "dice_loss", "focal_loss"]


def cross_entropy(
    logits: Tensor, target: Tensor, *, class_weights: Tensor | None = None, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Average the negative log-likelihood of the truth over the pixels that count.

    Args:
        logits: (N, K, H, W).
        target: (N, H, W).
        class_weights: (K,), or (2,) when K = 1; each pixel counts as much as the class of its truth weighs.
        ignore_index: Value of the target pixels that do not count.

    Raises:
        ValueError: Another number of weights than of classes.
    """
    classes = max(logits.shape[1], 2)
    if class_weights is not None and class_weights.shape != (classes,):
        raise ValueError(f"class_weights must have the shape ({classes},), got {tuple(class_weights.shape)}")
    target = target.long()
    valid = target != ignore_index
    loss = _negative_log_likelihood(logits, target, valid)
    if class_weights is None:
        return loss.sum() / valid.sum().clamp_min(1)
    weight = class_weights.to(loss.dtype)[torch.where(valid, target, 0)] * valid
    # All pixels may be ignored, or of classes that weigh nothing.
    return (weight * loss).sum() / weight.sum().clamp_min(torch.finfo(loss.dtype).tiny)


def focal_loss(logits: Tensor, target: Tensor, *, gamma: float = 2.0, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Average the cross-entropy over the pixels, each weighted by (1 - probability of the truth) ** gamma.

    Lin et al. 2017, Focal Loss for Dense Object Detection (arXiv:1708.02002), equation 4. The paper's classes
    are independent sigmoids; the classes of a mask exclude each other, so this is the form with a softmax.

    Args:
        logits: (N, K, H, W).
        target: (N, H, W).
        gamma: How much easy pixels are played down, 0 or more; 0 is the cross-entropy.
        ignore_index: Value of the target pixels that do not count.
    """
    if gamma < 0:
        raise ValueError(f"gamma must be 0 or more, got {gamma}")
    target = target.long()
    valid = target != ignore_index
    loss = _negative_log_likelihood(logits, target, valid)
    # The floor keeps the power's slope finite where the truth is certain and gamma is below 1.
    uncertainty = (-torch.expm1(-loss)).clamp_min(torch.finfo(loss.dtype).tiny)
    return (uncertainty**gamma * loss).sum() / valid.sum().clamp_min(1)


def dice_loss(logits: Tensor, target: Tensor, *, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Average 1 - Dice over the classes that are in the batch's truth.

    Dice is twice the overlap of probability and truth over the sum of both, over the whole batch at once.
    (V-Net, Milletari et al. 2016, arXiv:1606.04797, section 3, squares the denominator's terms; this is the
    plain form.) A class without a true pixel has no Dice and is left out of the mean, so that the loss runs
    from 0 to 1 whichever classes a batch happens to hold. In the binary case only the foreground is scored.

    Args:
        logits: (N, K, H, W).
        target: (N, H, W).
        ignore_index: Value of the target pixels that do not count.
    """
    _check_shapes(logits, target)
    logits = at_least_fp32(logits)
    classes = logits.shape[1]
    probability = logits.sigmoid() if classes == 1 else logits.softmax(dim=1)
    # (rows of all pictures, W, K): a view where the map is channels last, as convolutions like it. Each row is summed
    # alone and the rows then: one fp32 sum over two million pixels is wrong by 2 %, and one of ones ends at 2**24.
    probability = probability.movedim(1, -1).flatten(0, 1)
    target = target.long().flatten(0, 1)
    valid = (target != ignore_index).to(probability.dtype)
    target = torch.where(valid > 0, target, 0)
    with torch.autocast(logits.device.type, enabled=False):  # it would take the matrix products to bf16
        predicted = torch.bmm(valid[:, None], probability).sum(dim=(0, 1))
    if classes == 1:
        hit = target.to(probability.dtype)
        pixels, overlap = (share.sum().view(1) for share in (hit, hit * probability[..., 0]))
    else:
        # The truth's share alone is gathered and summed by class. A one-hot truth would be as large as the logits,
        # and the product with it took longer than a third of the network.
        of_truth = probability.gather(2, target[..., None])[..., 0] * valid
        bins = target + classes * torch.arange(len(target), device=target.device)[:, None]
        zeros = probability.new_zeros(len(target) * classes)
        pixels, overlap = (
            zeros.index_add(0, bins.flatten(), share.flatten()).view(-1, classes).sum(dim=0)
            for share in (valid, of_truth)
        )
    # No class with a true pixel has a sum below 1, so the floor only keeps 0 / 0 out of the absent ones.
    dice = 2 * overlap / (predicted + pixels).clamp_min(1e-7)
    present = pixels > 0
    return ((1 - dice) * present).sum() / present.sum().clamp_min(1)


def _negative_log_likelihood(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Return (N, H, W), 0 where `valid` is false."""
    _check_shapes(logits, target)
    logits = at_least_fp32(logits)
    target = torch.where(valid, target, 0)
    if logits.shape[1] == 1:
        logits = logits.squeeze(1)
        loss = F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="none")
    else:
        # Not `F.cross_entropy`, which takes as long and on a GPU refuses to be deterministic.
        loss = -logits.log_softmax(dim=1).gather(1, target[:, None]).squeeze(1)
    return torch.where(valid, loss, 0.0)


def _check_shapes(logits: Tensor, target: Tensor) -> None:
    if target.shape != (len(logits), *logits.shape[2:]):
        found = f"logits {tuple(logits.shape)} and a target {tuple(target.shape)}"
        raise ValueError(f"the target must have the pictures and the size of the logits, got {found}")
