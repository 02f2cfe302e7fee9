"""Lightning modules: loss, scores and optimiser wiring around a model."""

from resvision.tasks.base import VisionTask, parameter_groups
from resvision.tasks.confusion import ConfusionMatrix, SegmentationScores
from resvision.tasks.schedules import WarmupCosine
from resvision.tasks.segmentation import SegmentationTask

__all__ = [
    "ConfusionMatrix",
    "SegmentationScores",
    "SegmentationTask",
    "VisionTask",
    "WarmupCosine",
    "parameter_groups",
]
