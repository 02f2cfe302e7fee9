"""Features to a dense map or a pyramid: decoders read feature specs and know no backbone."""

from resvision.decoders.fpn import FeaturePyramid
from resvision.decoders.unet import UNetDecoder

__all__ = ["FeaturePyramid", "UNetDecoder"]
