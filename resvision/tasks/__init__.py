"""Lightning modules: loss, scores and optimiser wiring around a model."""

from resvision.tasks.base import VisionTask
from resvision.tasks.calibration import CalibrationError
from resvision.tasks.classification import ClassificationTask
from resvision.tasks.confusion import ClassificationScores, ConfusionMatrix, SegmentationScores
from resvision.tasks.detection import DetectionTask
from resvision.tasks.finetuning import PRESETS, FineTuning
from resvision.tasks.labelling import LabelTask
from resvision.tasks.multi_label import MultiLabelTask
from resvision.tasks.multi_task import MultiTask
from resvision.tasks.parameters import parameter_groups
from resvision.tasks.schedules import DropAtSteps, WarmupCosine
from resvision.tasks.segmentation import SegmentationTask
from resvision.tasks.verification import VerificationScores, VerificationTask

__all__ = [
    "PRESETS",
    "CalibrationError",
    "ClassificationScores",
    "ClassificationTask",
    "ConfusionMatrix",
    "DetectionTask",
    "DropAtSteps",
    "FineTuning",
    "LabelTask",
    "MultiLabelTask",
    "MultiTask",
    "SegmentationScores",
    "SegmentationTask",
    "VerificationScores",
    "VerificationTask",
    "VisionTask",
    "WarmupCosine",
    "parameter_groups",
]
