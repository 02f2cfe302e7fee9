"""How well objects are found."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor

from resvision.batch import DetectionLabels
from resvision.models import Detection, rescale
from resvision.tasks.box_scores import LEAST_SCORE, AveragePrecision, BoxConfusion, BoxScores
from resvision.tasks.evaluation import Evaluation
from resvision.tasks.tables import MOST_LISTED, cell, confusions, worst

__all__ = ["DetectionEvaluation"]


@final
class DetectionEvaluation(Evaluation):
    """Scores average precision as COCO counts it, in pixels of the original pictures.

    They are `map`, `map_50`, `map_75`, `map_small`, `map_medium`, `map_large`, `recall`, with up to 30 classes
    `ap/<class>`, and, of a model that tells it, `loss`.

    Args:
        class_names: One name per class, in the order of their numbers.
        max_detections: Most boxes of a picture that count.
        has_loss: Whether the model tells its loss in evaluation.
    """

    def __init__(self, class_names: Sequence[str], *, max_detections: int = 100, has_loss: bool = True) -> None:
        super().__init__(class_names)
        self.has_loss = has_loss
        self.average_precision = AveragePrecision(len(class_names), max_detections=max_detections)
        self.confusion = BoxConfusion(len(class_names))
        self._last_scores: BoxScores | None = None
        self._last_counts = torch.zeros(0)

    def update(self, said: Sequence[Detection], labels: DetectionLabels, loss: Tensor | None) -> None:
        """Count what was found in the pictures of a batch."""
        if loss is not None:
            self.loss.update(loss, len(said))
        originals = [
            _plain(rescale(one, (now[0], now[1]), (before[0], before[1])))
            for one, now, before in zip(said, labels["size"].tolist(), labels["original_size"].tolist(), strict=True)
        ]
        factors = (labels["original_size"] / labels["size"]).flip(1).repeat(1, 2)
        truth = [
            {"boxes": boxes * factor, "labels": classes, "iscrowd": crowd.long(), "area": area}
            for boxes, factor, classes, crowd, area in zip(
                labels["boxes"], factors, labels["labels"], labels["crowd"], labels["area"], strict=True
            )
        ]
        self.average_precision.update(originals, truth, labels["index"])
        self.confusion.update(originals, truth)

    def scores(self) -> Mapping[str, float]:
        """Return the scores of what was counted."""
        scores: BoxScores = self.average_precision.compute()
        self._last_scores, self._last_counts = scores, self.confusion.compute().cpu()
        result = dict(scores.overall)
        if self.has_loss:
            result["loss"] = self.loss.compute().item()
        if len(self.class_names) <= MOST_LISTED:
            result |= {f"ap/{name}": ap for name, ap in zip(self.class_names, scores.ap, strict=True)}
        return result

    def report(self) -> str:
        """Return a table of the last scores, class by class, by size, and the confusions that are most frequent.

        Of more than 30 classes it shows those with the lowest AP.
        """
        scores, counts = self._last_scores, self._last_counts
        if scores is None:
            return "nothing was evaluated yet"
        objects = counts.sum(dim=1).tolist()
        rows = list(
            zip(self.class_names, scores.ap, scores.ap_50, objects[:-1], counts.diagonal().tolist(), strict=False)
        )
        shown = worst(rows, 1)
        overall = scores.overall
        sizes = [(name, overall[f"map_{name}"]) for name in ("small", "medium", "large")]
        width = max(map(len, ("medium objects", *(row[0] for row in shown))))
        lines = [f"{'class':{width}}      AP    AP50    AP75  objects    found"]
        for name, ap, ap_50, count, found in shown:
            lines.append(f"{name:{width}}  {cell(ap)}  {cell(ap_50)}          {count:7}  {found:7}")
        if len(shown) < len(rows):
            lines.append(f"({len(rows) - len(shown)} classes with a higher AP are not shown)")
        means = "  ".join(cell(overall[name]) for name in ("map", "map_50", "map_75"))
        lines.append(f"{'mean':{width}}  {means}  {sum(objects[:-1]):7}  {sum(row[4] for row in rows):7}")
        lines += [f"{f'{name} objects':{width}}  {cell(ap)}" for name, ap in sizes]
        title = f"most frequent confusions, of boxes with a score of {LEAST_SCORE} or more"
        return "\n".join([*lines, *confusions(counts, (*self.class_names, "background"), title)])


def _plain(found: Detection) -> dict[str, Tensor]:
    return {"boxes": found["boxes"], "scores": found["scores"], "labels": found["labels"]}
