"""Plain modules that put backbone, decoder and head together: raw pixels in, logits or boxes out."""

from resvision.models.boxes import Detection, Target, rescale, targets_of
from resvision.models.classifier import Classifier
from resvision.models.detector import Detector
from resvision.models.embedder import Embedder
from resvision.models.multi_head import Branch, ClassificationBranch, DetectionBranch, MultiHead, SegmentationBranch
from resvision.models.resunet import ResUNet
from resvision.models.torchvision_detector import TorchvisionDetector

__all__ = [
    "Branch",
    "ClassificationBranch",
    "Classifier",
    "Detection",
    "DetectionBranch",
    "Detector",
    "Embedder",
    "MultiHead",
    "ResUNet",
    "SegmentationBranch",
    "Target",
    "TorchvisionDetector",
    "rescale",
    "targets_of",
]
