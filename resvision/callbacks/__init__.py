"""What a run needs beyond Lightning; each part can be used alone."""

from resvision.callbacks.batch_augmentation import BatchAugmentation
from resvision.callbacks.exact_resume import ExactResume
from resvision.callbacks.finetuning_table import FineTuningTable
from resvision.callbacks.learning_rate_range import LearningRateRange
from resvision.callbacks.pictures import Pictures
from resvision.callbacks.progress import Progress
from resvision.callbacks.safe_checkpoints import SafeCheckpointIO, remove_orphans
from resvision.callbacks.weight_ema import WeightEMA

__all__ = [
    "BatchAugmentation",
    "ExactResume",
    "FineTuningTable",
    "LearningRateRange",
    "Pictures",
    "Progress",
    "SafeCheckpointIO",
    "WeightEMA",
    "remove_orphans",
]
