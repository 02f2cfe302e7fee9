"""Whether a task can learn from what the data has."""

from collections.abc import Mapping
from typing import Any, Final

from resvision.cli.messages import UsageError
from resvision.data.base import Split, VisionDataModule
from resvision.data.detection import DetectionDataset
from resvision.tasks import ClassificationTask, DetectionTask, MultiLabelTask, SegmentationTask, VisionTask
from resvision.tasks.verification import VerificationTask

__all__ = ["check_labels", "note_crowded"]

#: What data may have, in words, by the tasks that learn from it; the first one is suggested.
_LEARN: Final[Mapping[str, tuple[type[VisionTask], ...]]] = {
    "one class a picture": (ClassificationTask, VerificationTask),
    "any number of labels a picture": (MultiLabelTask,),
    "masks": (SegmentationTask,),
    "boxes": (DetectionTask,),
}


def check_labels(task: VisionTask, data: VisionDataModule, split: Split) -> None:
    """Look at the first picture of a split, so that the first batch is not the first to complain.

    Raises:
        UsageError: Another task is for such labels. Tasks of the user's own are not checked.
    """
    known = {kind for kinds in _LEARN.values() for kind in kinds}
    if not isinstance(task, tuple(known)):
        return
    dataset = data.dataset(split)
    if dataset.shards is not None:  # What has begun to read them is not to be taken along into worker processes.
        return
    has = _kind(dataset.collate([dataset[0]]))
    if has is not None and not isinstance(task, _LEARN[has]):
        raise UsageError(
            f"the data has {has}, from which {type(task).__name__} cannot learn; "
            f"use --model {_LEARN[has][0].__name__}, or other data"
        )


def note_crowded(task: VisionTask, data: VisionDataModule, split: Split) -> str | None:
    """Return what to say of pictures with more objects than the task would find, None if there are none."""
    dataset = data.dataset(split)
    if not isinstance(task, DetectionTask) or not isinstance(dataset, DetectionDataset):
        return None
    most = dataset.source.most_objects()
    if most is None or most <= task.max_detections:
        return None
    return (
        f"a picture of {split} has {most} objects, and at most {task.max_detections} are found in one: "
        f"give --model.max_detections {most} or more to find all"
    )


def _kind(batch: Mapping[str, Any]) -> str | None:
    if "mask" in batch:
        return "masks"
    if "boxes" in batch:
        return "boxes"
    if "label" in batch:
        return "one class a picture" if batch["label"].ndim == 1 else "any number of labels a picture"
    return None
