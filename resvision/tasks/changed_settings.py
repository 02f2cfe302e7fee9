"""What a person sets of an optimiser and its schedule, apart from where the two stand."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

__all__ = ["apply_changes", "check_kinds", "optimizer_settings", "scheduler_settings"]


def optimizer_settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return the settings of each parameter group, as they were said: a schedule must not have changed them yet."""
    return [_plain(group) for group in optimizer.param_groups]


def scheduler_settings(scheduler: LRScheduler | None) -> dict[str, Any]:
    """Return the settings of a schedule that was just built; its counters stand where they always begin."""
    if scheduler is None:
        return {}
    # `OneCycleLR` keeps its peaks among the optimiser's groups.
    peaks = [group["max_lr"] for group in scheduler.optimizer.param_groups if "max_lr" in group]
    return _plain(scheduler.state_dict()) | ({"peaks": peaks} if peaks else {})


def check_kinds(before: Mapping[str, Any], optimizer: Optimizer, scheduler: LRScheduler | None) -> dict[str, str]:
    """Return the names of the classes of both, which must be those of the run that is continued.

    Args:
        before: The names in the run before; empty if there was none.
        optimizer: Of this run.
        scheduler: Likewise.

    Raises:
        ValueError: One differs: what it has counted so far means nothing to the other.
    """
    now = {"optimizer": type(optimizer).__name__, "scheduler": "no schedule"}
    if scheduler is not None:
        now["scheduler"] = type(scheduler).__name__
    for name, kind in before.items():
        if kind != now[name]:
            raise ValueError(
                f"the run that goes on has {kind} for its {name}, and now it is to be {now[name]}; "
                "to change it, begin a new run from the weights: --model.weights CHECKPOINT"
            )
    return now


def apply_changes(
    optimizer: Optimizer, scheduler: LRScheduler | None, before: Mapping[str, Any], now: Mapping[str, Any]
) -> None:
    """Set what was said otherwise in this run than in the one that it continues.

    To go on, Lightning restores all of an optimiser and a schedule, the learning rate and the weight decay of the run
    before included, whatever is said now (Lightning #12118).

    Args:
        optimizer: It has the state of the run before.
        scheduler: Likewise.
        before: `optimizer` and `scheduler` of the run before, by the functions above.
        now: The same of this run.

    Raises:
        ValueError: A schedule of parts that were computed at its start has other settings.
    """
    peaks = list(getattr(scheduler, "base_lrs", []))
    for number, (group, old, new) in enumerate(
        zip(optimizer.param_groups, before["optimizer"], now["optimizer"], strict=False)
    ):
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
    said = now["scheduler"]
    changed = {name for name in said.keys() & before["scheduler"].keys() if said[name] != before["scheduler"][name]}
    if changed & {"_schedulers", "_milestones"} or (changed and isinstance(scheduler, OneCycleLR)):
        raise ValueError(
            f"a {type(scheduler).__name__} that goes on cannot have other settings; say those of the run before, or "
            "begin a new run from the weights: --model.weights CHECKPOINT"
        )
    for name in changed:
        if not name.startswith("_"):
            setattr(scheduler, name, Counter(said[name]) if isinstance(said[name], Mapping) else said[name])


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
