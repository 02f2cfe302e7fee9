"""Objects in boxes, in one stage and without anchors."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, NotRequired, TypedDict, final, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import batched_nms

from resvision.backbones import Backbone
from resvision.decoders import FeaturePyramid
from resvision.heads import DetectionHead
from resvision.layers import InputNormalization, check_choice
from resvision.losses import box_giou, box_iou, quality_focal_loss, sigmoid_focal_loss
from resvision.models.assignment import Assigner, Places, Truth, assign_atss, assign_fcos, ignored_places

__all__ = ["Assignment", "Detection", "Detector", "Quality", "Said", "Target", "clip_boxes", "rescale"]

Assignment = Literal["atss", "fcos"]
Quality = Literal["centerness", "iou"]

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
class Detector(nn.Module):
    """Find objects in pictures of any size: raw pixels in, boxes with classes and scores out.

    FCOS (Tian et al. 2019, arXiv:1904.01355; 2020, arXiv:2006.09214) with the assignment of ATSS (Zhang et al. 2019,
    arXiv:1912.02424): a pyramid of features; a head that says in every place which classes are there and how far the
    sides of the box lie; focal loss, GIoU loss and centerness. What differs from the papers: the distances begin at 4
    strides and not at 0 or 1, so that boxes overlap their objects from the first step.

    Args:
        backbone: Encoder; its input statistics normalise the pixels.
        num_classes: Classes that are told apart, without a background.
        strides: Strides of the pyramid's levels, see `FeaturePyramid`.
        channels: Channels of the pyramid and of the head.
        depth: Convolutions of a branch of the head before the last.
        assignment: How places are given objects to find while training, `atss` or, as in FCOS, `fcos`.
        quality: What tells how good a box is: `centerness`, which goes into the score as in FCOS; or `iou`: the class
            score alone, trained to be the overlap with the truth (quality focal loss, Li et al. 2020,
            arXiv:2006.04388).
        box_weight: Weight of the loss of the boxes; 2 in ATSS, 1 in FCOS.
        score_threshold: Least score of what is said to be found.
        nms_threshold: Of boxes of one class that overlap by more, the surest stays.
        max_detections: Most objects of a picture.

    Raises:
        ValueError: The backbone has no feature of the finest stride, or a choice is not one of those above.

    Example:
        >>> model = Detector(create_backbone("resnet18"), num_classes=3).eval()
        >>> found, = model(torch.zeros(1, 3, 320, 448, dtype=torch.uint8))
        >>> sorted(found)
        ['boxes', 'labels', 'scores']
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        strides: Sequence[int] = (8, 16, 32, 64, 128),
        channels: int = 256,
        depth: int = 4,
        assignment: Assignment = "atss",
        quality: Quality = "centerness",
        box_weight: float = 2.0,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.6,
        max_detections: int = 100,
    ) -> None:
        super().__init__()
        check_choice("assignment", assignment, get_args(Assignment))
        check_choice("quality", quality, get_args(Quality))
        self.normalization = InputNormalization(backbone.input_statistics)
        self.backbone = backbone
        self.pyramid = FeaturePyramid(backbone.feature_specs, strides=strides, channels=channels)
        self.head = DetectionHead(
            channels, num_classes, num_levels=len(strides), depth=depth, centerness=quality == "centerness"
        )
        self.assignment: Assignment = assignment
        self.box_weight = box_weight
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.max_detections = max_detections
        self.least_side = max(spec.stride for spec in backbone.feature_specs.values())

    def forward(
        self, images: Tensor, targets: Sequence[Target] | None = None, *, sizes: Tensor | None = None
    ) -> list[Detection] | dict[str, Tensor]:
        """Find objects, or compare what is said with the truth, where that is given.

        Args:
            images: (N, C, H, W), uint8, uint16 or floating in 0..1.
            targets: The objects of each picture.
            sizes: (N, 2), height and width of each picture's content, where the rest is padding.

        Returns:
            What was found in each picture; or with `targets` the losses, to be summed: `classification`, `box` and,
            where there is one, `centerness`.
        """
        said = self.say(images)
        return self.detections(said, sizes) if targets is None else self.losses(said, targets)

    def say(self, images: Tensor) -> Said:
        """Map pixels to what the network says, from which losses and detections are computed."""
        x = self.normalization(images)
        height, width = x.shape[-2:]
        below, beside = max(self.least_side - height, 0), max(self.least_side - width, 0)
        if below or beside:
            # A backbone refuses pictures below its stride; the last row and column go on instead.
            x = F.pad(x, (0, beside, 0, below), mode="replicate")
        levels = self.pyramid(self.backbone(x))
        logits, distances, centerness = self.head(levels)
        return Said(logits, distances, centerness, Places.of(levels, self.pyramid.strides), (height, width))

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
