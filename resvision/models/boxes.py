"""From what a network says in the places of a pyramid to losses, and to boxes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, NotRequired, TypedDict, final, get_args

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import batched_nms

from resvision.batch import DetectionLabels
from resvision.layers import check_choice
from resvision.losses import box_giou, box_iou, quality_focal_loss, sigmoid_focal_loss
from resvision.models.assignment import Assigner, Places, Truth, assign_atss, assign_fcos, ignored_places

__all__ = ["Assignment", "BoxRules", "Detection", "Said", "Target", "clip_boxes", "rescale", "targets_of"]

Assignment = Literal["atss", "fcos"]

_ASSIGNERS: Final[Mapping[Assignment, Assigner]] = {"atss": assign_atss, "fcos": assign_fcos}
#: Boxes of a picture that are compared with each other, the best ones by their scores.
_MOST_CANDIDATES: Final = 3000


class Target(TypedDict):
    """The objects of a picture.

    Attributes:
        boxes: (K, 4), xyxy in pixels, inside the picture.
        labels: (K,), int64, classes from 0.
        crowd: (K,), bool, whether a box trains nothing, neither an object nor its absence.
    """

    boxes: Tensor
    labels: Tensor
    crowd: NotRequired[Tensor]


class Detection(TypedDict):
    """What was found in a picture, the surest first.

    Attributes:
        boxes: (K, 4), fp32, xyxy in pixels of the picture as given.
        scores: (K,), fp32, 0 to 1.
        labels: (K,), int64, classes from 0.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Said(NamedTuple):
    """What the network says in each of A places, in fp32.

    Attributes:
        logits: (N, A, num_classes).
        distances: (N, A, 4), of the left, upper, right and lower side, in strides, 0 or more.
        centerness: (N, A), logits, or None where the classes' own scores tell how good a box is.
        places: Where they are.
        size: Height and width of the pictures.
    """

    logits: Tensor
    distances: Tensor
    centerness: Tensor | None
    places: Places
    size: tuple[int, int]


@final
@dataclass(frozen=True)
class BoxRules:
    """How the places of a pyramid are trained to find objects, and which of their boxes are found.

    Args:
        assignment: How places are given objects to find while training, `atss` or, as in FCOS, `fcos`.
        box_weight: Weight of the loss of the boxes; 2 in ATSS, 1 in FCOS.
        score_threshold: What scores higher is said to be found.
        nms_threshold: Of boxes of one class that overlap by more, the surest stays.
        max_detections: Most objects of a picture.

    Raises:
        ValueError: There is no such assignment.
    """

    assignment: Assignment = "atss"
    box_weight: float = 2.0
    score_threshold: float = 0.05
    nms_threshold: float = 0.6
    max_detections: int = 100

    def __post_init__(self) -> None:
        check_choice("assignment", self.assignment, get_args(Assignment))

    def losses(self, said: Said, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Return the losses, each a mean over the places that are to find an object, in fp32."""
        truth, ignored = _gather(targets, said.logits.device)
        matched = _ASSIGNERS[self.assignment](said.places, truth, len(targets))
        picture, place = (matched >= 0).nonzero(as_tuple=True)
        found = matched[picture, place]
        count = max(len(found), 1)
        labels, true = truth.labels[found], truth.boxes[found]
        places = Places(said.places.centers[place], said.places.strides[place], ())
        boxes = places.boxes(said.distances[picture, place])
        target = torch.zeros_like(said.logits)
        if said.centerness is None:
            target[picture, place, labels] = box_iou(boxes.detach(), true)
            each = quality_focal_loss(said.logits, target)
        else:
            target[picture, place, labels] = 1
            each = sigmoid_focal_loss(said.logits, target)
        if len(ignored.boxes):
            absent = ignored_places(said.places, ignored, len(targets)) & (matched < 0)
            each = each.masked_fill(absent[..., None], 0)
        result = {
            "classification": each.sum() / count,
            "box": self.box_weight * (1 - box_giou(boxes, true)).sum() / count,
        }
        if said.centerness is not None:
            logits, truth_of = said.centerness[picture, place], _centerness(places.centers, true)
            result["centerness"] = F.binary_cross_entropy_with_logits(logits, truth_of, reduction="sum") / count
        return result

    @torch.no_grad()
    def detections(self, said: Said, sizes: Tensor | None = None) -> list[Detection]:
        """Return what was found, of each class the best of the boxes that overlap.

        Args:
            said: What the network said.
            sizes: (N, 2), height and width of each picture's content; None is all of it.
        """
        scores = said.logits.sigmoid()
        if said.centerness is not None:
            scores = (scores * said.centerness.sigmoid()[..., None]).sqrt()
        bounds = [said.size] * len(scores) if sizes is None else sizes.tolist()
        return [
            self._detections_in(picture, distances, said.places, (int(height), int(width)))
            for picture, distances, (height, width) in zip(scores, said.distances, bounds, strict=True)
        ]

    def _detections_in(self, scores: Tensor, distances: Tensor, places: Places, size: tuple[int, int]) -> Detection:
        """Return what was found in one picture, by scores (A, num_classes) and distances (A, 4)."""
        place, label = (scores > self.score_threshold).nonzero(as_tuple=True)
        best = scores[place, label]
        if len(best) > _MOST_CANDIDATES:
            best, order = best.topk(_MOST_CANDIDATES)
            place, label = place[order], label[order]
        boxes = Places(places.centers[place], places.strides[place], ()).boxes(distances[place])
        boxes = clip_boxes(boxes, size)
        solid = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        boxes, best, label = boxes[solid], best[solid], label[solid]
        kept = batched_nms(boxes, best, label, self.nms_threshold)[: self.max_detections]
        return Detection(boxes=boxes[kept], scores=best[kept], labels=label[kept])


def targets_of(labels: DetectionLabels) -> list[Target]:
    """Return the labels of a batch picture by picture."""
    return [
        Target(boxes=boxes, labels=classes, crowd=crowd)
        for boxes, classes, crowd in zip(labels["boxes"], labels["labels"], labels["crowd"], strict=True)
    ]


def rescale(found: Detection, size: tuple[int, int], original_size: tuple[int, int]) -> Detection:
    """Return what was found in a resized picture in pixels of the original one.

    Args:
        found: What was found.
        size: Height and width of the picture in which it was.
        original_size: Height and width before it was resized.
    """
    factors = [original / now for original, now in zip(original_size[::-1], size[::-1], strict=True)]
    boxes = found["boxes"] * torch.tensor(factors * 2, device=found["boxes"].device)
    return Detection(boxes=clip_boxes(boxes, original_size), scores=found["scores"], labels=found["labels"])


def clip_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Clip boxes (K, 4), xyxy, to a height and a width."""
    height, width = size
    return torch.stack([boxes[:, side].clamp(0, (width, height)[side % 2]) for side in range(4)], dim=1)


def _gather(targets: Sequence[Target], device: torch.device) -> tuple[Truth, Truth]:
    """Return the objects of all pictures one after the other, and the boxes that train nothing."""
    counts = torch.tensor([len(target["boxes"]) for target in targets], device=device)
    picture = torch.arange(len(targets), device=device).repeat_interleave(counts)
    boxes = torch.cat([target["boxes"].float() for target in targets])
    labels = torch.cat([target["labels"] for target in targets])
    none = torch.zeros(0, dtype=torch.bool, device=device)
    crowd = torch.cat([none, *(target.get("crowd", torch.zeros_like(target["labels"]).bool()) for target in targets)])
    return Truth(boxes[~crowd], labels[~crowd], picture[~crowd]), Truth(boxes[crowd], labels[crowd], picture[crowd])


def _centerness(centers: Tensor, boxes: Tensor) -> Tensor:
    """Return how central points inside of boxes lie, 0 to 1 (Tian et al. 2019, equation 3)."""
    near, far = centers - boxes[:, :2], boxes[:, 2:] - centers
    return (torch.minimum(near, far) / torch.maximum(near, far)).prod(dim=1).sqrt()
