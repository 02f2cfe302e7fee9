"""How well every pixel's class is found."""

from collections.abc import Mapping, Sequence
from typing import final

from torch import Tensor

from resvision.batch import IGNORE_INDEX, SegmentationLabels
from resvision.tasks.confusion import ConfusionMatrix, SegmentationScores
from resvision.tasks.evaluation import Evaluation
from resvision.tasks.tables import cell

__all__ = ["SegmentationEvaluation"]


@final
class SegmentationEvaluation(Evaluation):
    """Scores `loss`, `miou`, `dice`, `pixel_accuracy` and `iou/<class>`, from one confusion matrix over the split.

    Args:
        class_names: One name per class, in the order of their numbers.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__(class_names)
        self.confusion = ConfusionMatrix(len(class_names))
        self._last_scores: SegmentationScores | None = None

    def update(self, said: Tensor, labels: SegmentationLabels, loss: Tensor) -> None:
        """Count the pixels of a batch by its logits (N, num_classes, H, W)."""
        # A picture without a pixel that counts has no part in the loss.
        self.loss.update(loss, (labels["mask"] != IGNORE_INDEX).flatten(1).any(dim=1).sum())
        self.confusion.update(said.argmax(dim=1), labels["mask"])

    def scores(self) -> Mapping[str, float]:
        """Return loss, IoU, Dice and pixel accuracy of what was counted."""
        scores = SegmentationScores.of(self.confusion.compute())
        self._last_scores = scores
        return {
            "loss": self.loss.compute().item(),
            "miou": scores.mean_iou.item(),
            "dice": scores.mean_dice.item(),
            "pixel_accuracy": scores.pixel_accuracy.item(),
            **{f"iou/{name}": iou for name, iou in zip(self.class_names, scores.iou.tolist(), strict=True)},
        }

    def report(self) -> str:
        """Return a table of the last scores: IoU, Dice and part of the pixels, class by class."""
        scores = self._last_scores
        if scores is None:
            return "nothing was evaluated yet"
        numbers = (scores.iou.tolist(), scores.dice.tolist(), scores.share.tolist())
        width = max(map(len, (*self.class_names, "pixel accuracy")))
        lines = [f"{'class':{width}}     IoU    Dice   pixels"]
        for name, iou, dice, share in zip(self.class_names, *numbers, strict=True):
            lines.append(f"{name:{width}}  {cell(iou)}  {cell(dice)}  {share:7.2%}")
        lines.append(f"{'mean':{width}}  {cell(scores.mean_iou.item())}  {cell(scores.mean_dice.item())}")
        lines.append(f"{'pixel accuracy':{width}}  {cell(scores.pixel_accuracy.item())}")
        return "\n".join(lines)
