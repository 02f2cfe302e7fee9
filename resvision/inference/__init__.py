"""Using a trained model: find and load its checkpoint, predict, draw."""

from resvision.inference.predictor import Predictor, load
from resvision.inference.results import SegmentationResult

__all__ = ["Predictor", "SegmentationResult", "load"]
