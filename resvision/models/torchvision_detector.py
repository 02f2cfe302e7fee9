"""torchvision's own detectors on any backbone, to compare with."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal, final, get_args

from torch import Tensor, nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.image_list import ImageList
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool, LastLevelP6P7

from resvision.backbones import Backbone
from resvision.features import select
from resvision.layers import InputNormalization, check_choice
from resvision.models.boxes import Detection, Target, clip_boxes

__all__ = ["TorchvisionDetector", "TorchvisionKind"]

TorchvisionKind = Literal["faster_rcnn", "retinanet", "fcos"]

#: Channels of the pyramid, as in torchvision's own models.
_CHANNELS = 256
_LEAST_SCORE = 0.05


@final
class TorchvisionDetector(nn.Module):
    """A detector of torchvision, pyramid and head as they come, with the calls of `Detector`.

    Boxes with a score of at least 0.05 are found; everything else is torchvision's default, but that pictures are not
    resized.

    Args:
        backbone: Encoder; its input statistics normalise the pixels.
        num_classes: Classes that are told apart, without a background.
        kind: Which of them.
        max_detections: Most objects of a picture.

    Raises:
        ValueError: There is no such kind, or the backbone lacks one of the strides 8, 16, 32, or 4 for `faster_rcnn`.
    """

    def __init__(
        self, backbone: Backbone, num_classes: int, kind: TorchvisionKind, *, max_detections: int = 100
    ) -> None:
        super().__init__()
        check_choice("kind", kind, get_args(TorchvisionKind))
        self.normalization = InputNormalization(backbone.input_statistics)
        self.network = _network(backbone, num_classes, kind, max_detections)
        self.network.transform = _AsItIs()
        # Of two stages, the second knows the background as class 0.
        self._first_label = 1 if kind == "faster_rcnn" else 0

    @property
    def backbone(self) -> Backbone:
        """The encoder."""
        body: Backbone = self.network.get_submodule("backbone.body")  # type: ignore[assignment]
        return body

    def forward(
        self, images: Tensor, targets: Sequence[Target] | None = None, *, sizes: Tensor | None = None
    ) -> list[Detection] | dict[str, Tensor]:
        """Find objects in evaluation mode, or return the losses in training mode; see `Detector.forward`.

        Boxes of crowds are left out of the targets: torchvision does not know them.
        """
        x = self.normalization(images)
        if targets is not None:
            losses: dict[str, Tensor] = self.network(x, [self._target(target) for target in targets])
            return losses
        found = self.network(x)
        bounds = [tuple(x.shape[-2:])] * len(x) if sizes is None else [(int(h), int(w)) for h, w in sizes.tolist()]
        return [self._detection(one, (size[0], size[1])) for one, size in zip(found, bounds, strict=True)]

    def _target(self, target: Target) -> dict[str, Tensor]:
        boxes, labels = target["boxes"], target["labels"] + self._first_label
        if "crowd" in target:
            boxes, labels = boxes[~target["crowd"]], labels[~target["crowd"]]
        return {"boxes": boxes, "labels": labels}

    def _detection(self, found: dict[str, Tensor], size: tuple[int, int]) -> Detection:
        boxes = clip_boxes(found["boxes"].float(), size)
        solid = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
        return Detection(
            boxes=boxes[solid],
            scores=found["scores"][solid].float(),
            labels=found["labels"][solid] - self._first_label,
        )


def _network(backbone: Backbone, num_classes: int, kind: TorchvisionKind, max_detections: int) -> nn.Module:
    network: nn.Module
    if kind == "faster_rcnn":
        pyramid = _Pyramid(backbone, (4, 8, 16, 32), LastLevelMaxPool())
        network = FasterRCNN(
            pyramid, num_classes + 1, box_score_thresh=_LEAST_SCORE, box_detections_per_img=max_detections
        )
    else:
        pyramid = _Pyramid(backbone, (8, 16, 32), LastLevelP6P7(_CHANNELS, _CHANNELS))
        build = FCOS if kind == "fcos" else RetinaNet
        network = build(pyramid, num_classes, score_thresh=_LEAST_SCORE, detections_per_img=max_detections)
    return network


@final
class _Pyramid(nn.Module):
    """A backbone with torchvision's pyramid, under the names that torchvision's detectors look for."""

    def __init__(self, backbone: Backbone, strides: Sequence[int], extra: nn.Module) -> None:
        super().__init__()
        self.body = backbone
        self.names = select(backbone.feature_specs, strides)
        self.fpn = FeaturePyramidNetwork([backbone.feature_specs[n].channels for n in self.names], _CHANNELS, extra)
        self.out_channels = _CHANNELS

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.body(images)
        levels: dict[str, Tensor] = self.fpn(
            OrderedDict((str(number), features[name]) for number, name in enumerate(self.names))
        )
        return levels


@final
class _AsItIs(nn.Module):
    """Stands in for torchvision's resizing and normalising: both are done."""

    def forward(self, images: Tensor, targets: Any = None) -> tuple[ImageList, Any]:
        height, width = images.shape[-2:]
        return ImageList(images, [(height, width)] * len(images)), targets

    def postprocess(self, found: Any, _sizes: Any, _original_sizes: Any) -> Any:
        return found
