"""Plain modules that put backbone, decoder and head together: raw pixels in, logits out."""

from resvision.models.classifier import Classifier
from resvision.models.embedder import Embedder
from resvision.models.resunet import ResUNet

__all__ = ["Classifier", "Embedder", "ResUNet"]
