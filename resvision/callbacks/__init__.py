"""What a run needs beyond Lightning; each part can be used alone."""

from resvision.callbacks.exact_resume import ExactResume
from resvision.callbacks.finetuning_table import FineTuningTable
from resvision.callbacks.pictures import Pictures
from resvision.callbacks.progress import Progress

__all__ = ["ExactResume", "FineTuningTable", "Pictures", "Progress"]
