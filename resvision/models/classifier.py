"""A backbone with a linear head: one class for a picture."""

from typing import final

from torch import Tensor, nn

from resvision.backbones import Backbone
from resvision.backbones.googlenet import AUXILIARY_FEATURES
from resvision.heads import AuxiliaryHead, ClassificationHead
from resvision.layers import InputNormalization

__all__ = ["Classifier"]


@final
class Classifier(nn.Module):
    """Classify pictures by the coarsest feature of a backbone: raw pixels in, one logit per class out.

    With a ResNet this is the network of He et al. 2015 (arXiv:1512.03385, section 3.3); `head.fc` is what
    torchvision and timm call `fc`. With a GoogLeNet whose `out_features` name those that its auxiliary classifiers look
    at, it has these too; they help in training (Szegedy et al. 2015, arXiv:1409.4842, section 5) and answer nothing.

    Args:
        backbone: Encoder; its input statistics become the first layer.
        num_classes: Logits per picture.
        dropout: Share of the pooled channels that is dropped while training, from 0 to below 1.

    Raises:
        ValueError: `dropout` is out of range.

    Example:
        >>> model = Classifier(create_backbone("resnet18"), num_classes=10)
        >>> model(torch.zeros(1, 3, 224, 224, dtype=torch.uint8)).shape
        torch.Size([1, 10])
    """

    def __init__(self, backbone: Backbone, num_classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.normalization = InputNormalization(backbone.input_statistics)
        self.backbone = backbone
        self._feature, spec = list(backbone.feature_specs.items())[-1]
        self.head = ClassificationHead(spec.channels, num_classes, dropout=dropout)
        self.auxiliary = nn.ModuleDict(
            {
                name: AuxiliaryHead(backbone.feature_specs[name].channels, num_classes)
                for name in AUXILIARY_FEATURES
                if name in backbone.feature_specs and name != self._feature
            }
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map pixels (N, C, H, W), uint8, uint16 or floating in 0..1, to logits (N, num_classes).

        Raises:
            ValueError: The pictures have other channels, or are smaller than the backbone's largest stride.
        """
        logits: Tensor = self.head(self.backbone(self.normalization(images))[self._feature])
        return logits

    def all_logits(self, images: Tensor) -> list[Tensor]:
        """Map pixels to the logits of the head and then of each auxiliary classifier, for training."""
        features = self.backbone(self.normalization(images))
        return [self.head(features[self._feature]), *(head(features[name]) for name, head in self.auxiliary.items())]
