"""Several questions to one backbone: the class of a picture, of each of its pixels, and its objects."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from resvision.backbones import Backbone
from resvision.batch import ClassificationLabels, DetectionLabels, LabelKind, MultiTaskLabels, SegmentationLabels
from resvision.decoders import FeaturePyramid, UNetDecoder
from resvision.features import FeatureSpec
from resvision.heads import ClassificationHead, DetectionHead, SegmentationHead
from resvision.layers import InputNormalization
from resvision.losses import TaskWeighting, WeightedSum, classification_loss
from resvision.models.assignment import Places
from resvision.models.boxes import BoxRules, Said, targets_of
from resvision.models.padding import padded

__all__ = ["Branch", "ClassificationBranch", "DetectionBranch", "MultiHead", "SegmentationBranch"]

Features = Mapping[str, Tensor]
Specs = Mapping[str, FeatureSpec]


class Branch(nn.Module, ABC):
    """Everything behind the backbone for one kind of label, with its loss."""

    @abstractmethod
    def forward(self, features: Features, size: tuple[int, int]) -> Any:
        """Map the backbone's features to what is said of pictures of a height and width."""

    @abstractmethod
    def loss(self, said: Any, labels: Any) -> Tensor:
        """Compare what is said of pictures with their labels; a scalar, in fp32."""


@final
class ClassificationBranch(Branch):
    """What `Classifier` has behind its backbone, and the cross-entropy.

    Args:
        specs: The backbone's features.
        num_classes: Logits per picture.
    """

    def __init__(self, specs: Specs, num_classes: int) -> None:
        super().__init__()
        self._feature, spec = list(specs.items())[-1]
        self.head = ClassificationHead(spec.channels, num_classes)

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        """Return logits (N, num_classes)."""
        logits: Tensor = self.head(features[self._feature])
        return logits

    def loss(self, said: Tensor, labels: ClassificationLabels) -> Tensor:
        """Return the cross-entropy."""
        return classification_loss(said, labels["label"])


@final
class SegmentationBranch(Branch):
    """What `ResUNet` has behind its backbone, and cross-entropy plus Dice.

    Args:
        specs: The backbone's features.
        num_classes: Logits per pixel.
        decoder_stride: Stride at which the decoder ends and the logits are enlarged from.
        decoder_widths: Channels after each step of the decoder, coarse to fine; by default those of `UNetDecoder`.
    """

    def __init__(
        self, specs: Specs, num_classes: int, *, decoder_stride: int = 4, decoder_widths: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.decoder = UNetDecoder(specs, end_stride=decoder_stride, widths=decoder_widths)
        self.head = SegmentationHead(self.decoder.out_channels, num_classes, stride=self.decoder.stride)
        self._loss = WeightedSum()

    def forward(self, features: Features, size: tuple[int, int]) -> Tensor:
        """Return logits (N, num_classes, *size)."""
        logits: Tensor = self.head(self.decoder(features), size)
        return logits

    def loss(self, said: Tensor, labels: SegmentationLabels) -> Tensor:
        """Return cross-entropy plus Dice loss."""
        loss: Tensor = self._loss(said, labels["mask"])
        return loss


@final
class DetectionBranch(Branch):
    """What `Detector` has behind its backbone, and its losses.

    Args:
        specs: The backbone's features.
        num_classes: Classes that are told apart, without a background.
        strides: Strides of the pyramid's levels, see `FeaturePyramid`.
        channels: Channels of the pyramid and of the head.

    Attributes:
        rules: How objects become losses and places become boxes.
    """

    def __init__(
        self, specs: Specs, num_classes: int, *, strides: Sequence[int] = (8, 16, 32, 64, 128), channels: int = 256
    ) -> None:
        super().__init__()
        self.pyramid = FeaturePyramid(specs, strides=strides, channels=channels)
        self.head = DetectionHead(channels, num_classes, num_levels=len(strides))
        self.rules = BoxRules()

    def forward(self, features: Features, size: tuple[int, int]) -> Said:
        """Return what is said in each place; `rules` makes boxes of it."""
        levels = self.pyramid(features)
        logits, distances, centerness = self.head(levels)
        return Said(logits, distances, centerness, Places.of(levels, self.pyramid.strides), size)

    def loss(self, said: Said, labels: DetectionLabels) -> Tensor:
        """Return the sum of the losses of classes, boxes and centerness."""
        return torch.stack([*self.rules.losses(said, targets_of(labels)).values()]).sum()


@final
class MultiHead(nn.Module):
    """Ask one backbone several questions (Caruana 1997, Multitask Learning, Machine Learning 28): raw pixels in.

    The backbone computes its features once. Each branch sees those of the pictures that it is asked about, so that a
    picture without a kind of label changes nothing in that branch, not even the statistics of its batch norms.

    Args:
        backbone: Encoder; its input statistics normalise the pixels.
        branches: Made from the backbone's feature specs, by the kind of label that trains them.
        weighting: Makes one loss of those of the branches; it may learn, and so it is a part of the model.

    Example:
        >>> backbone = create_backbone("resnet18")
        >>> branches = {"classification": ClassificationBranch(backbone.feature_specs, num_classes=10)}
        >>> model = MultiHead(backbone, branches, FixedWeights({"classification": 1.0}))
        >>> model(torch.zeros(1, 3, 224, 224, dtype=torch.uint8))["classification"].shape
        torch.Size([1, 10])
    """

    def __init__(self, backbone: Backbone, branches: Mapping[LabelKind, Branch], weighting: TaskWeighting) -> None:
        super().__init__()
        self.normalization = InputNormalization(backbone.input_statistics)
        self.backbone = backbone
        self.branches = nn.ModuleDict({kind: branch for kind, branch in branches.items()})  # noqa: C416  # the keys are `str`
        self.weighting = weighting
        self.kinds: tuple[LabelKind, ...] = tuple(branches)
        self.least_side = max(spec.stride for spec in backbone.feature_specs.values())

    def branch(self, kind: LabelKind) -> Branch:
        """Return the branch for one kind of label."""
        branch = self.branches[kind]
        assert isinstance(branch, Branch)
        return branch

    def forward(self, images: Tensor, rows: Mapping[LabelKind, Tensor] | None = None) -> dict[LabelKind, Any]:
        """Ask about pictures.

        Args:
            images: (N, C, H, W), uint8, uint16 or floating in 0..1.
            rows: By the kind of label, (M,), which pictures to ask about, each once and in their order; None
                asks all about all.

        Returns:
            What each branch that was asked says: logits (M, num_classes), logits (M, num_classes, H, W), or a `Said`.
        """
        x = self.normalization(images)
        size = (x.shape[-2], x.shape[-1])
        features = self.backbone(padded(x, self.least_side))
        said: dict[LabelKind, Any] = {}
        for kind in self.kinds if rows is None else rows:
            asked = features
            if rows is not None and len(rows[kind]) < len(images):
                asked = {name: feature[rows[kind]] for name, feature in features.items()}
            said[kind] = self.branch(kind)(asked, size)
        return said

    def losses(self, said: Mapping[LabelKind, Any], labels: MultiTaskLabels) -> dict[LabelKind, Tensor]:
        """Compare what is said with the labels of the same pictures, each kind by itself; `weighting` adds them."""
        return {kind: self.branch(kind).loss(said[kind], labels[kind]) for kind in said}
