"""Objects in boxes, in one stage and without anchors."""

from collections.abc import Sequence
from typing import Literal, final, get_args

from torch import Tensor, nn

from resvision.backbones import Backbone
from resvision.decoders import FeaturePyramid
from resvision.heads import DetectionHead
from resvision.layers import InputNormalization, check_choice
from resvision.models.assignment import Places
from resvision.models.boxes import Assignment, BoxRules, Detection, Said, Target
from resvision.models.padding import padded

__all__ = ["Assignment", "Detector", "Quality"]

Quality = Literal["centerness", "iou"]


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
        score_threshold: Least score of what is said to be found, 0 to 1.
        nms_threshold: Of boxes of one class that overlap by more, 0 to 1, the surest stays; with 1 all stay.
        max_detections: Most objects of a picture.

    Raises:
        ValueError: The backbone has no feature of the finest stride, a choice is not one of those above, or a number is
            out of range.

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
        check_choice("quality", quality, get_args(Quality))
        for name, threshold in (("score_threshold", score_threshold), ("nms_threshold", nms_threshold)):
            if not 0 <= threshold <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {threshold}")
        self.normalization = InputNormalization(backbone.input_statistics)
        self.backbone = backbone
        self.pyramid = FeaturePyramid(backbone.feature_specs, strides=strides, channels=channels)
        self.head = DetectionHead(
            channels, num_classes, num_levels=len(strides), depth=depth, centerness=quality == "centerness"
        )
        self.rules = BoxRules(
            assignment=assignment,
            box_weight=box_weight,
            score_threshold=score_threshold,
            nms_threshold=nms_threshold,
            max_detections=max_detections,
        )
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
        size = (x.shape[-2], x.shape[-1])
        levels = self.pyramid(self.backbone(padded(x, self.least_side)))
        logits, distances, centerness = self.head(levels)
        return Said(logits, distances, centerness, Places.of(levels, self.pyramid.strides), size)

    def losses(self, said: Said, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Return the losses, each a mean over the places that are to find an object, in fp32."""
        return self.rules.losses(said, targets)

    def detections(self, said: Said, sizes: Tensor | None = None) -> list[Detection]:
        """Return what was found, of each class the best of the boxes that overlap.

        Args:
            said: What the network said.
            sizes: (N, 2), height and width of each picture's content; None is all of it.
        """
        return self.rules.detections(said, sizes)
