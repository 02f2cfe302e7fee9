"""Features to logits."""

from resvision.heads.segmentation import SegmentationHead

__all__ = ["SegmentationHead"]
