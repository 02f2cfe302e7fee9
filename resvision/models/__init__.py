"""Plain modules that put backbone, decoder and head together: raw pixels in, logits or boxes out."""

from resvision.models.classifier import Classifier
from resvision.models.detector import Detection, Detector, Target
from resvision.models.embedder import Embedder
from resvision.models.resunet import ResUNet
from resvision.models.torchvision_detector import TorchvisionDetector

__all__ = ["Classifier", "Detection", "Detector", "Embedder", "ResUNet", "Target", "TorchvisionDetector"]
