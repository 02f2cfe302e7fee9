"""How well boxes are found: average precision as COCO counts it, and what is mistaken for what."""

import gc
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal, NamedTuple, final

import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from torchvision.ops import box_area, box_iou

__all__ = ["LEAST_SCORE", "AveragePrecision", "BoxConfusion", "BoxScores"]

#: Least score of a box that counts as found in the confusion matrix and is drawn.
LEAST_SCORE: Final = 0.4
#: Pictures times classes whose boxes are compared at once.
_MOST_CELLS: Final = 1_000_000
#: Least overlap of a box with its object.
_LEAST_OVERLAP: Final = 0.5


class BoxScores(NamedTuple):
    """Average precision from 0 to 1, `nan` where the split has no such object.

    Attributes:
        overall: `map`, mean over overlaps from 0.5 to 0.95 and over the classes; `map_50`, `map_75` at one overlap;
            `map_small`, `map_medium`, `map_large` of objects by their area, parted at 32 ** 2 and 96 ** 2 pixels;
            `recall`, of as many boxes a picture as count.
        ap: Of each class, over the overlaps.
        ap_50: Of each class, at an overlap of 0.5.
    """

    overall: Mapping[str, float]
    ap: Sequence[float]
    ap_50: Sequence[float]


@final
class AveragePrecision(Metric):
    """Average precision as COCO counts it, by faster-coco-eval.

    `MeanAveragePrecision` of torchmetrics gets the same from the same library, and spends more than half of its time on
    bringing the boxes there one by one.

    Args:
        num_classes: K.
        max_detections: Most boxes of a picture that count, the surest of each class; COCO's is 100.
    """

    is_differentiable = False
    full_state_update = False

    found: list[Tensor]
    truth: list[Tensor]

    def __init__(self, num_classes: int, *, max_detections: int = 100) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.max_detections = max_detections
        self.add_state("found", default=[], dist_reduce_fx="cat")
        self.add_state("truth", default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forget what was kept."""
        super().reset()
        # Of a process that keeps nothing, torchmetrics would send the others something of another type and shape.
        nothing = torch.zeros(0, 8, device=self.device)
        self.found, self.truth = [nothing], [nothing]

    def update(
        self, found: Sequence[Mapping[str, Tensor]], truth: Sequence[Mapping[str, Tensor]], index: Tensor
    ) -> None:
        """Keep the boxes of a batch.

        Args:
            found: `boxes` (K, 4), xyxy, `scores` (K,) and `labels` (K,) of each picture.
            truth: `boxes` (K, 4), xyxy, `labels` (K,), `iscrowd` (K,) and `area` (K,) of each picture; an area of 0 is
                that of the box.
            index: (N,), the pictures' numbers, below 2 ** 24, each of which comes once.
        """
        for number, said, true in zip(index.tolist(), found, truth, strict=True):
            self.found.append(_rows(number, said, "scores"))
            self.truth.append(_rows(number, true, "iscrowd"))

    def compute(self) -> BoxScores:
        """Return the scores of what was kept since the last reset."""
        with _collector_at_rest():
            precision, recall = self._evaluate()
        of_all = precision[..., 0]
        overall = {
            "map": _mean(of_all),
            "map_50": _mean(of_all[0]),
            "map_75": _mean(of_all[5]),
            "map_small": _mean(precision[..., 1]),
            "map_medium": _mean(precision[..., 2]),
            "map_large": _mean(precision[..., 3]),
            "recall": _mean(recall[..., 0]),
        }
        labels = range(self.num_classes)
        ap, ap_50 = [_mean(of_all[:, :, k]) for k in labels], [_mean(of_all[0, :, k]) for k in labels]
        return BoxScores(overall, ap, ap_50)

    def _evaluate(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return precision by overlap, recall, class and area (all, small, ...), and recall by the same but recall.

        Where there is nothing, it is -1.
        """
        # In fp64 from here on, which not every accelerator has.
        found, truth = (dim_zero_cat(rows).cpu().double().numpy() for rows in (self.found, self.truth))
        pictures = np.unique(np.concatenate([found[:, 0], truth[:, 0]])).astype(int).tolist()
        sides = COCO(), COCO()
        for side, annotations in zip(
            sides, (_annotations(truth, "iscrowd"), _annotations(found, "score")), strict=True
        ):
            side.dataset = {
                "images": [{"id": picture} for picture in pictures],
                "categories": [{"id": label} for label in range(self.num_classes)],
                "annotations": annotations,
            }
            side.createIndex()
        parts = []
        # What is kept for each class of each picture would be gigabytes where there are many of both.
        at_once = max(_MOST_CELLS // max(len(pictures), 1), 1)
        for first in range(0, self.num_classes, at_once):
            evaluation = COCOeval_faster(*sides, iouType="bbox")
            evaluation.params.maxDets = [self.max_detections]
            evaluation.params.catIds = [*range(first, min(first + at_once, self.num_classes))]
            evaluation.evaluate()
            parts.append([np.asarray(evaluation.eval[name])[..., 0] for name in ("precision", "recall")])
        precision, recall = zip(*parts, strict=True)
        return np.concatenate(precision, axis=2), np.concatenate(recall, axis=1)


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Let no garbage be collected: a dictionary for each box, none of them garbage, doubles the time with it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _rows(number: int, boxes: Mapping[str, Tensor], last: Literal["scores", "iscrowd"]) -> Tensor:
    """Return boxes as rows of picture, class, left, top, right, bottom, area (0: the box's) and one thing more."""
    labels = boxes["labels"].float()
    area = boxes["area"].float() if "area" in boxes else torch.zeros_like(labels)
    first = torch.stack([torch.full_like(labels, number), labels], 1)
    return torch.cat([first, boxes["boxes"].float(), torch.stack([area, boxes[last].float()], 1)], 1)


def _annotations(rows: NDArray[np.float64], last: Literal["score", "iscrowd"]) -> list[dict[str, Any]]:
    """Return rows of `_rows` in COCO's form."""
    sides = rows[:, 4:6] - rows[:, 2:4]
    areas = np.where(rows[:, 6] > 0, rows[:, 6], sides.prod(axis=1))
    boxes = np.concatenate([rows[:, 2:4], sides], 1)
    columns = rows[:, :2].astype(int).tolist(), boxes.tolist(), areas.tolist(), rows[:, 7].tolist()
    # The number 0 would stand for "not found".
    return [
        {"id": number, "image_id": picture, "category_id": label, "bbox": box, "area": area, last: value}
        for number, ((picture, label), box, area, value) in enumerate(zip(*columns, strict=True), 1)
    ]


def _mean(values: NDArray[np.float64]) -> float:
    counted = values[values > -1]
    return float(counted.mean()) if len(counted) else math.nan


@final
class BoxConfusion(Metric):
    """Counts which objects were found as which class; the last row and column are the background.

    Of the boxes with a score of at least 0.4, each belongs to the object that it overlaps most, from an overlap of 0.5
    on and one for each object, whatever its class. Other objects were taken for the background, and in other boxes the
    background for an object, unless a box lies in a crowd.

    Args:
        num_classes: K.
    """

    is_differentiable = False
    full_state_update = False

    counts: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.background = num_classes
        zeros = torch.zeros(num_classes + 1, num_classes + 1, dtype=torch.int64)
        self.add_state("counts", default=zeros, dist_reduce_fx="sum")

    def update(self, found: Sequence[Mapping[str, Tensor]], truth: Sequence[Mapping[str, Tensor]]) -> None:
        """Count the pictures of a batch.

        Args:
            found: `boxes` (K, 4), `scores` (K,) and `labels` (K,) of each picture.
            truth: `boxes` (K, 4), `labels` (K,) and `iscrowd` (K,) of each picture.
        """
        for said, true in zip(found, truth, strict=True):
            sure = said["scores"] >= LEAST_SCORE
            crowd = true["iscrowd"].bool()
            boxes, labels = said["boxes"][sure], said["labels"][sure].cpu()
            objects = true["labels"][~crowd].cpu()
            rows, columns = _pairs(box_iou(true["boxes"][~crowd], boxes))
            self._add(objects[rows], labels[columns])
            missed = torch.ones(len(objects), dtype=torch.bool)
            missed[rows] = False
            invented = ~_lie_in(boxes, true["boxes"][crowd]).cpu()
            invented[columns] = False
            self._add(objects[missed], torch.full((int(missed.sum()),), self.background))
            self._add(torch.full((int(invented.sum()),), self.background), labels[invented])

    def _add(self, rows: Tensor, columns: Tensor) -> None:
        cells = (rows * len(self.counts) + columns).to(self.counts.device)
        self.counts.view(-1).index_add_(0, cells, torch.ones_like(cells))

    def compute(self) -> Tensor:
        """Return the counts since the last reset, (K + 1, K + 1), rows the truth, columns what was said."""
        return self.counts


def _pairs(overlaps: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows and columns of pairs, of which the larger overlap goes first, each row and each column once."""
    rows, columns = (overlaps >= _LEAST_OVERLAP).nonzero(as_tuple=True)
    order = overlaps[rows, columns].argsort(descending=True, stable=True)
    column_of: dict[int, int] = {}
    row_of: dict[int, int] = {}
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in column_of and column not in row_of:
            column_of[row], row_of[column] = column, row
    return torch.tensor([*column_of], dtype=torch.int64), torch.tensor([*row_of], dtype=torch.int64)


def _lie_in(boxes: Tensor, crowds: Tensor) -> Tensor:
    """Return whether at least half of each box (K, 4) lies in one of the crowds, (K,)."""
    sides = torch.minimum(boxes[:, None, 2:], crowds[:, 2:]) - torch.maximum(boxes[:, None, :2], crowds[:, :2])
    common = sides.clamp(min=0).prod(dim=-1)
    areas: Tensor = box_area(boxes)
    return (common >= _LEAST_OVERLAP * areas[:, None]).any(dim=1)
