"""Using a trained model: find and load its checkpoint, predict, draw."""

from resvision.inference.predictor import Predictor, load
from resvision.inference.results import (
    ClassificationResult,
    DetectionResult,
    EmbeddingResult,
    MultiTaskResult,
    Result,
    SegmentationResult,
)

__all__ = [
    "ClassificationResult",
    "DetectionResult",
    "EmbeddingResult",
    "MultiTaskResult",
    "Predictor",
    "Result",
    "SegmentationResult",
    "load",
]
