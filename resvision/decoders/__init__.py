"""Features to a dense map: decoders read feature specs and know no backbone."""

from resvision.decoders.unet import UNetDecoder

__all__ = ["UNetDecoder"]
