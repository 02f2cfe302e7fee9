"""What a run needs beyond Lightning; each part can be used alone."""

from resvision.callbacks.batch_augmentation import BatchAugmentation
from resvision.callbacks.best_checkpoint import BestCheckpoint
from resvision.callbacks.clean_stop import CleanStop, RunStopped
from resvision.callbacks.end_together import EndTogether, LostProcessError, last_words, lost_process
from resvision.callbacks.exact_resume import ExactResume
from resvision.callbacks.finetuning_table import FineTuningTable
from resvision.callbacks.finite_loss import FiniteLoss, NonFiniteLossError
from resvision.callbacks.gradient_flow import GradientFlow
from resvision.callbacks.learning_rate_range import LearningRateRange
from resvision.callbacks.pictures import Pictures
from resvision.callbacks.progress import Progress
from resvision.callbacks.safe_checkpoints import SafeCheckpointIO, remove_orphans
from resvision.callbacks.weight_ema import WeightEMA

__all__ = [
    "BatchAugmentation",
    "BestCheckpoint",
    "CleanStop",
    "EndTogether",
    "ExactResume",
    "FineTuningTable",
    "FiniteLoss",
    "GradientFlow",
    "LearningRateRange",
    "LostProcessError",
    "NonFiniteLossError",
    "Pictures",
    "Progress",
    "RunStopped",
    "SafeCheckpointIO",
    "WeightEMA",
    "last_words",
    "lost_process",
    "remove_orphans",
]
