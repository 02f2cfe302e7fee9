"""What has to agree with a task: the classes of its data, the labels of a batch, the checkpoint that it comes from."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import LightningModule

__all__ = ["check_batch", "check_checkpoint", "check_classes", "told_by"]


def check_classes(theirs: Sequence[object], ours: Sequence[str], *, between: str = ", ") -> None:
    """Compare what names the classes of data with what names those of a task; `between` stands between them in words.

    Raises:
        ValueError: They are others, or in another order.
    """
    if list(map(str, theirs)) != list(ours):
        raise ValueError(
            f"the data has the classes {between.join(map(str, theirs))}, and this task {between.join(ours)}; "
            "give the task those of the data, in their order"
        )


def check_batch(batch: Mapping[str, Any], task: str, key: str | None) -> None:
    """Look for the labels that a task learns from; None is none to look for.

    Raises:
        ValueError: They are not there.
    """
    if key is not None and key not in batch:
        raise ValueError(
            f"{task} learns from batches with {key!r}, and these have {', '.join(map(repr, batch))}; "
            "use other data, or another task"
        )


def told_by(task: LightningModule, *names: str) -> dict[str, Any]:
    """Return hyperparameters of a task by their names.

    Raises:
        TypeError: It does not keep one.
    """
    if missing := [name for name in names if name not in task.hparams]:
        raise TypeError(
            f"{type(task).__name__} keeps no {', '.join(missing)}: let its constructor take it, and call "
            'self.save_hyperparameters(ignore=["optimizer", "scheduler"])'
        )
    return {name: task.hparams[name] for name in names}


def check_checkpoint(said: Mapping[str, Any], *, task: str, class_names: Sequence[str], backbone: object) -> None:
    """Compare what a checkpoint says of itself with the task that it is loaded into.

    Raises:
        ValueError: It is of another task, of other classes, or of another backbone.
    """
    if said["task"] != task:
        raise ValueError(f"the checkpoint is of a {said['task']}, and this is a {task}")
    if said["class_names"] != list(class_names):
        raise ValueError(
            f"the checkpoint knows the classes {', '.join(said['class_names'])}, and this task {', '.join(class_names)}"
        )
    if "backbone" in said and said["backbone"] != backbone:
        raise ValueError(
            f"the checkpoint has the backbone {said['backbone']}, and this task {backbone}; "
            "leave out model.backbone, or begin a new run"
        )
