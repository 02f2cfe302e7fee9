"""Features to logits."""

from resvision.heads.arcface import ArcFaceHead
from resvision.heads.auxiliary import AUXILIARY_WEIGHT, AuxiliaryHead
from resvision.heads.classification import ClassificationHead
from resvision.heads.detection import DetectionHead
from resvision.heads.segmentation import SegmentationHead

__all__ = [
    "AUXILIARY_WEIGHT",
    "ArcFaceHead",
    "AuxiliaryHead",
    "ClassificationHead",
    "DetectionHead",
    "SegmentationHead",
]
