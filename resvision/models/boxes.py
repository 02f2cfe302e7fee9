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
#: Or so many for each object that may be found, if that is more.
_CANDIDATES_EACH: Final = 10


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
        """Return the losses, each a mean over the places that are to find an object, in fp32.

        Raises:
            ValueError: There is not one target for each picture.
        """
        if len(targets) != len(said.logits):
            raise ValueError(f"there are {len(said.logits)} pictures and {len(targets)} targets; each needs one")
        # Every place is computed, of which few are to find an object: picking them out would wait for the device.
        truth = _gather(targets, said.logits.device)
        matched = _ASSIGNERS[self.assignment](said.places, truth, len(targets))
        finds = matched >= 0
        count = finds.sum().clamp(min=1)
        # The last row, which -1 takes, is that of the places that are to find none.
        labels, true = F.pad(truth.labels, (0, 1))[matched], F.pad(truth.boxes, (0, 0, 0, 1))[matched]
        boxes = torch.where(finds[..., None], said.places.boxes(said.distances), true)
        if said.centerness is None:
            focal_loss, quality = quality_focal_loss, finds * box_iou(boxes.detach(), true)
        else:
            focal_loss, quality = sigmoid_focal_loss, finds.to(said.logits)
        target = torch.zeros_like(said.logits).scatter(2, labels[..., None], quality[..., None])
        absent = ignored_places(said.places, truth, len(targets)) & ~finds
        result = {
            "classification": focal_loss(said.logits, target).sum(dim=2).masked_fill(absent, 0).sum() / count,
            "box": self.box_weight * torch.where(finds, 1 - box_giou(boxes, true), 0).sum() / count,
        }
        if said.centerness is not None:
            truth_of = torch.where(finds, _centerness(said.places.centers, true), 0)
            wrong = F.binary_cross_entropy_with_logits(said.centerness, truth_of, reduction="none")
            result["centerness"] = torch.where(finds, wrong, 0).sum() / count
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
        candidates = max(_MOST_CANDIDATES, _CANDIDATES_EACH * self.max_detections)
        if len(best) > candidates:
            best, order = best.topk(candidates)
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


def _gather(targets: Sequence[Target], device: torch.device) -> Truth:
    """Return the objects of all pictures one after the other."""
    crowd = [target.get("crowd", torch.zeros_like(target["labels"], dtype=torch.bool)) for target in targets]
    # Filled where they are used: a copy from the host would be waited for.
    picture = [torch.full((len(target["boxes"]),), i, device=device) for i, target in enumerate(targets)]
    return Truth(
        boxes=torch.cat([target["boxes"].float() for target in targets]),
        labels=torch.cat([target["labels"] for target in targets]),
        picture=torch.cat(picture),
        crowd=torch.cat(crowd),
    )


def _centerness(centers: Tensor, boxes: Tensor) -> Tensor:
    """Return how central points inside of boxes lie, 0 to 1 (Tian et al. 2019, equation 3)."""
    near, far = centers - boxes[..., :2], boxes[..., 2:] - centers
    return (torch.minimum(near, far) / torch.maximum(near, far)).prod(dim=-1).sqrt()
