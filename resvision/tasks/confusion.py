"""One streaming confusion matrix, and the scores of a segmentation or a classification that follow from it."""

from typing import NamedTuple, final

import torch
from torch import Tensor
from torchmetrics import Metric

from resvision.batch import IGNORE_INDEX

__all__ = ["ClassificationScores", "ConfusionMatrix", "SegmentationScores"]


class SegmentationScores(NamedTuple):
    """Scores from 0 to 1, fp64 on the CPU, of all pixels that were seen and count.

    A class without a true pixel is `nan` in `iou` and `dice`, also when it was predicted somewhere: the split
    cannot say how well the class is found. Such predictions still lower the scores of the classes they hit.

    Attributes:
        iou: (K,), intersection over union of each class.
        dice: (K,), Dice of each class, 2 IoU / (1 + IoU).
        share: (K,), part of the true pixels that belongs to each class.
        mean_iou: Scalar, mean over the classes that are not `nan`.
        mean_dice: Scalar, the same of Dice.
        pixel_accuracy: Scalar, part of the pixels with the right class.
    """

    iou: Tensor
    dice: Tensor
    share: Tensor
    mean_iou: Tensor
    mean_dice: Tensor
    pixel_accuracy: Tensor

    @staticmethod
    def of(counts: Tensor) -> "SegmentationScores":
        """Score a (K, K) matrix of pixel counts, rows the truth, columns the prediction."""
        counts = counts.cpu().double()  # on the CPU: not every accelerator has fp64
        hit, true, predicted = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
        # 0 / 0 makes the nan of an absent class, and 0 / 0 of no pixels at all that of the shares.
        hit = torch.where(true > 0, hit, torch.nan)
        iou = hit / (true + predicted - hit)
        dice = 2 * hit / (true + predicted)
        total = true.sum()
        return SegmentationScores(iou, dice, true / total, iou.nanmean(), dice.nanmean(), counts.trace() / total)


class ClassificationScores(NamedTuple):
    """Scores from 0 to 1, fp64 on the CPU, of all pictures that were seen.

    A class without a true picture is `nan` in `recall` and `f1`, and one that was never predicted is `nan` in
    `precision`: the split cannot say.

    Attributes:
        precision: (K,), part of the pictures said to be of a class that are.
        recall: (K,), part of the pictures of a class that were found.
        f1: (K,), harmonic mean of both, 0 for a class that was never found.
        pictures: (K,), int64, number of true pictures.
        mean_precision: Scalar, mean over the classes that are not `nan`.
        mean_recall: Scalar, the same of recall; it is the balanced accuracy.
        mean_f1: Scalar, the same of F1.
        accuracy: Scalar, part of the pictures with the right class.
    """

    precision: Tensor
    recall: Tensor
    f1: Tensor
    pictures: Tensor
    mean_precision: Tensor
    mean_recall: Tensor
    mean_f1: Tensor
    accuracy: Tensor

    @staticmethod
    def of(counts: Tensor) -> "ClassificationScores":
        """Score a (K, K) matrix of picture counts, rows the truth, columns the prediction."""
        counts = counts.cpu()
        hit, true, predicted = counts.diagonal().double(), counts.sum(dim=1), counts.sum(dim=0)
        precision, recall = hit / predicted, hit / true
        f1 = torch.where(true > 0, 2 * hit / (true + predicted), torch.nan)
        means = precision.nanmean(), recall.nanmean(), f1.nanmean()
        return ClassificationScores(precision, recall, f1, true, *means, hit.sum() / true.sum())


@final
class ConfusionMatrix(Metric):
    """Count pixels, or pictures, by true and predicted class, without waiting for the device.

    The counts are int64, so no split is too large for them, and are summed over the processes of a
    distributed run when the scores are computed.

    Args:
        num_classes: K.
        ignore_index: Value of a truth that does not count.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    counts: Tensor

    def __init__(self, num_classes: int, *, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        zeros = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.add_state("counts", default=zeros, dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            prediction: Classes 0 to K - 1, any integer type and shape.
            target: The same shape; 0 to K - 1 or `ignore_index`.
        """
        # Ignored pixels add 0 to the first bin. `bincount` would wait for the device to learn how many bins there are,
        # and a boolean index to learn how many pixels are left.
        target = target.long()
        counted = target != self.ignore_index
        cell = torch.where(counted, target * self.num_classes + prediction.long(), 0)
        self.counts.view(-1).index_add_(0, cell.flatten(), counted.flatten().long())

    def compute(self) -> Tensor:
        """Return the counts since the last reset, (K, K), rows the truth, columns the prediction."""
        return self.counts
