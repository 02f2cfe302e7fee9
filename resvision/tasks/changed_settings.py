"""What a person sets of an optimiser and its schedule, apart from where the two stand."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, final

from lightning.pytorch import Trainer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

__all__ = ["SaidSettings"]


@final
class SaidSettings:
    """What a person sets of an optimiser and its schedule, in this run and in the one that it continues.

    To go on, Lightning restores all of an optimiser and a schedule, the learning rate and the weight decay of the run
    before included, whatever is said now (Lightning #12118). Here what was said is kept apart from where the two stand.
    """

    def __init__(self) -> None:
        self._now: dict[str, Any] = {"optimizer": [], "scheduler": {}}
        self._before: Mapping[str, Any] | None = None

    def note_optimizer(self, optimizer: Optimizer) -> None:
        """Note the settings of each parameter group, as they were said: a schedule must not have changed them yet."""
        self._now = {"optimizer": [_plain(group) for group in optimizer.param_groups], "scheduler": {}}

    def note_schedule(self, optimizer: Optimizer, scheduler: LRScheduler | None) -> None:
        """Note the settings of a schedule that was just built; its counters stand where they always begin.

        Raises:
            ValueError: It, or the optimiser, is of another class than in the run that is continued, or the optimiser
                has other parameter groups: what the one has counted means nothing to the other.
        """
        kinds = {"optimizer": type(optimizer).__name__, "scheduler": "no schedule"}
        if scheduler is not None:
            kinds["scheduler"] = type(scheduler).__name__
            # `OneCycleLR` keeps its peaks among the optimiser's groups.
            peaks = [group["max_lr"] for group in optimizer.param_groups if "max_lr" in group]
            self._now["scheduler"] = _plain(scheduler.state_dict()) | ({"peaks": peaks} if peaks else {})
        self._now["kinds"] = kinds
        if self._before is None:
            return
        now = kinds | _names_of_groups(self._now)
        for name, kind in (self._before.get("kinds", {}) | _names_of_groups(self._before)).items():
            if kind != now[name]:
                raise ValueError(
                    f"the run that goes on has {kind} for its {name}, and now it is to be {now[name]}; "
                    "to change it, begin a new run from the weights: --model.weights CHECKPOINT"
                )

    def apply(self, trainer: Trainer) -> None:
        """Set, once, what is said otherwise now than in the run before, of which both have the state.

        Raises:
            ValueError: A schedule of parts that were computed at its start has other settings.
        """
        before, self._before = self._before, None
        if before is None:
            return
        schedules = trainer.lr_scheduler_configs
        scheduler = schedules[0].scheduler if schedules else None
        _change_groups(trainer.optimizers[0], scheduler, before["optimizer"], self._now["optimizer"])
        _change_schedule(scheduler, before["scheduler"], self._now["scheduler"])

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, as plain data."""
        return self._now

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take a checkpoint's as that of the run before."""
        self._before = state


def _names_of_groups(said: Mapping[str, Any]) -> dict[str, str]:
    names = [group.get("name", "unnamed") for group in said["optimizer"]]
    return {"parameter groups, which finetune makes": ", ".join(names)}


def _change_groups(
    optimizer: Optimizer,
    scheduler: LRScheduler | None,
    before: Sequence[Mapping[str, Any]],
    now: Sequence[Mapping[str, Any]],
) -> None:
    peaks = list(getattr(scheduler, "base_lrs", []))
    for number, (group, old, new) in enumerate(zip(optimizer.param_groups, before, now, strict=False)):
        changed = {name for name in new.keys() & old.keys() if new[name] != old[name]}
        for name in changed - {"lr"}:
            group[name] = new[name]
        if "lr" not in changed:
            continue
        if "initial_lr" in group:
            group["initial_lr"] = new["lr"]
        # A schedule that keeps no learning rates of the run before, such as `WarmupCosine`, has set the new one.
        if peaks[number : number + 1] != [new["lr"]]:
            # The schedule stands somewhere below the rate that was said, and goes on from there.
            group["lr"] = group["lr"] * new["lr"] / old["lr"] if old["lr"] else new["lr"]


def _change_schedule(scheduler: LRScheduler | None, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = {name for name in now.keys() & before.keys() if now[name] != before[name]}
    if changed & {"_schedulers", "_milestones"} or (changed and isinstance(scheduler, OneCycleLR)):
        raise ValueError(
            f"a {type(scheduler).__name__} that goes on cannot have other settings; say those of the run before, or "
            "begin a new run from the weights: --model.weights CHECKPOINT"
        )
    for name in changed:
        if not name.startswith("_"):
            setattr(scheduler, name, Counter(now[name]) if isinstance(now[name], Mapping) else now[name])


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    # A Counter is a dictionary of its own kind, which a checkpoint of plain data does not hold.
    return {
        name: dict(value) if isinstance(value, Mapping) else value
        for name, value in settings.items()
        if _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):  # as the milestones of `MultiStepLR`
        return _is_plain([*value, *value.values()])
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value)) and len(value) < 100
    return value is None or isinstance(value, bool | int | float | str)
