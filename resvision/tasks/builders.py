"""What builds the optimiser and the schedule of a task."""

import inspect
from dataclasses import dataclass
from typing import Any, Final, Self, final

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable

__all__ = ["Builders"]

#: Stands for a default in what is pickled.
_DEFAULT: Final = "default"


@final
@dataclass(frozen=True)
class Builders:
    """Builds a task's optimiser and its schedule.

    A task is pickled with it, for other processes. The defaults are functions without a name, which have to stand in
    the signature for the command line to read; they are pickled as what the task's class has there.

    Raises:
        ValueError: A builder cannot be called.

    Attributes:
        task: Class of the task.
        optimizer: Builds the optimiser from parameter groups.
        scheduler: Builds the schedule from the optimiser; None keeps the learning rate.
    """

    task: type[Any]
    optimizer: OptimizerCallable
    scheduler: LRSchedulerCallable | None

    def __post_init__(self) -> None:
        for name in ("optimizer", "scheduler"):
            if not callable(builder := getattr(self, name)) and not (builder is None and name == "scheduler"):
                raise ValueError(f"{name} must build one, as partial(torch.optim.SGD, lr=0.1) does, got {builder!r}")

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # What the command line has made holds a lock, and needs no copy.
        return self

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        return state | {name: _DEFAULT for name, value in _defaults(self.task).items() if state[name] is value}

    def __setstate__(self, state: dict[str, Any]) -> None:
        defaults = _defaults(state["task"])
        vars(self).update({name: defaults[name] if value == _DEFAULT else value for name, value in state.items()})


def _defaults(task: type[Any]) -> dict[str, Any]:
    """Return the builders that a task takes where it is given none."""
    parameters = inspect.signature(task).parameters
    return {name: parameters[name].default for name in ("optimizer", "scheduler") if name in parameters}
