"""ResUNet: a U-Net whose both paths are made of residual blocks."""

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from resvision.backbones import Backbone
from resvision.decoders import UNetDecoder
from resvision.heads import SegmentationHead
from resvision.layers import InputNormalization
from resvision.models.padding import padded

__all__ = ["ResUNet"]


@final
class ResUNet(nn.Module):
    """Segment pictures of any size, down to one pixel: raw pixels in, one logit per class and pixel out.

    Zhang, Liu, Wang 2018, Road Extraction by Deep Residual U-Net, IEEE GRSL 15(5), arXiv:1711.10684: a
    U-Net with residual units in place of plain convolutions. As there, each step of the decoder enlarges,
    concatenates the encoder's feature of that size and applies one residual unit of two 3x3 convolutions.
    What differs:

    - The encoder is any backbone, pretrained or not. The paper's has one unit each at full, half and
      quarter size, 64 to 256 channels wide, and a bridge of 512; a ResNet begins with a strided stem and
      goes down to 1/32.
    - The units are those of the ResNets (convolution, norm, rectifier; rectified after the sum, with a 1x1
      projection as shortcut); the paper's are pre-activated (norm, rectifier, convolution; nothing after
      the sum).
    - The decoder ends at stride 4 by default, and the logits are enlarged from there by bilinear interpolation; the
      paper decodes at full size. In short runs on street scenes 4 learned faster than 2 and took three quarters
      of the time; give a smaller stride where the backbone has one and the finest detail counts.
    - One logit per class for a softmax, where the paper has one sigmoid; the losses live elsewhere, and are
      cross-entropy and Dice where the paper has the mean squared error.

    Args:
        backbone: Encoder; its input statistics normalise the pixels.
        num_classes: Logits per pixel.
        decoder_stride: Stride at which the decoder ends and the logits are enlarged from.
        decoder_widths: Channels after each step of the decoder, coarse to fine; by default those of `UNetDecoder`.

    Raises:
        ValueError: The backbone has no feature of `decoder_stride`, or the widths do not fit its steps.

    Example:
        >>> model = ResUNet(create_backbone("resnet18"), num_classes=11)
        >>> model(torch.zeros(1, 3, 359, 480, dtype=torch.uint8)).shape
        torch.Size([1, 11, 359, 480])
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        decoder_stride: int = 4,
        decoder_widths: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.normalization = InputNormalization(backbone.input_statistics)
        self.backbone = backbone
        self.decoder = UNetDecoder(backbone.feature_specs, end_stride=decoder_stride, widths=decoder_widths)
        self.head = SegmentationHead(self.decoder.out_channels, num_classes, stride=self.decoder.stride)
        self.least_side = max(spec.stride for spec in backbone.feature_specs.values())

    def forward(self, images: Tensor) -> Tensor:
        """Map pixels (N, C, H, W), uint8, uint16 or floating in 0..1, to logits (N, num_classes, H, W)."""
        x = self.normalization(images)
        logits: Tensor = self.head(self.decoder(self.backbone(padded(x, self.least_side))), x.shape[-2:])
        return logits
