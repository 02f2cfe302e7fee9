"""Using a trained model: find and load its checkpoint, predict, draw."""

from resvision.inference.predictor import Predictor, load
from resvision.inference.results import ClassificationResult, EmbeddingResult, Result, SegmentationResult

__all__ = ["ClassificationResult", "EmbeddingResult", "Predictor", "Result", "SegmentationResult", "load"]
