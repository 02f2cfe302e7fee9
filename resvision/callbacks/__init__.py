"""What a run needs beyond Lightning; each part can be used alone."""

from resvision.callbacks.exact_resume import ExactResume
from resvision.callbacks.pictures import Pictures
from resvision.callbacks.progress import Progress
from resvision.callbacks.safe_checkpoints import SafeCheckpointIO, remove_orphans

__all__ = ["ExactResume", "Pictures", "Progress", "SafeCheckpointIO", "remove_orphans"]
