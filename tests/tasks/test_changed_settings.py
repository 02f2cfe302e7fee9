"""What is said to a run that goes on counts more than what was said to the run before."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, MultiStepLR, OneCycleLR, SequentialLR, StepLR

from resvision.tasks import ClassificationTask
from resvision.tasks.finetuning import FineTune
from resvision.tasks.schedules import WarmupCosine
from tests.tasks.test_classification import NAMES, _loader
from tests.tasks.trainers import quiet_trainer


def _fit(
    folder: Path,
    epochs: int,
    scheduler: Any,
    resume: Path | None = None,
    finetune: FineTune = None,
    weights: str | None = None,
    **settings: Any,
) -> Trainer:
    optimizer = partial(SGD, **({"lr": 0.1, "momentum": 0.9} | settings))
    task = ClassificationTask(
        NAMES, backbone="toy", weights=weights, finetune=finetune, optimizer=optimizer, scheduler=scheduler
    )
    trainer = quiet_trainer(folder, max_epochs=epochs)
    trainer.fit(task, _loader(12, 3), _loader(12, 3), ckpt_path=resume, weights_only=True)
    return trainer


def _groups(trainer: Trainer) -> list[dict[str, Any]]:
    return [{k: v for k, v in group.items() if k != "params"} for group in trainer.optimizers[0].param_groups]


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        (None, 0.02),
        # After 2 of 4 epochs at 0.1 and 2 more at 0.02, halved after each.
        (partial(StepLR, step_size=1, gamma=0.5), 0.02 * 0.5**4),
    ],
)
def test_learning_rate__is_that_of_now(scheduler: Any, expected: float, tmp_path: Path) -> None:
    _fit(tmp_path / "1", 2, scheduler).save_checkpoint(tmp_path / "a.ckpt")
    again = _fit(tmp_path / "2", 4, scheduler, tmp_path / "a.ckpt", lr=0.02, momentum=0.5, weight_decay=0.25)
    for group in _groups(again):
        assert group["lr"] == pytest.approx(expected)
        assert group["momentum"] == 0.5
    # Norms and biases keep their own.
    assert [group["weight_decay"] for group in _groups(again)] == [0.25, 0.0]


@pytest.mark.parametrize("scheduler", [None, partial(StepLR, step_size=1)])
def test_schedule__of_another_kind_is_refused(scheduler: Any, tmp_path: Path) -> None:
    _fit(tmp_path / "1", 1, partial(WarmupCosine, total_steps=100)).save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"has WarmupCosine for its scheduler, .* --model.weights CHECKPOINT"):
        _fit(tmp_path / "2", 2, scheduler, tmp_path / "a.ckpt")


def test_finetune__that_is_added_or_left_out_is_refused(tmp_path: Path) -> None:
    _fit(tmp_path / "1", 1, None).save_checkpoint(tmp_path / "plain.ckpt")
    weights = tmp_path / "weights.pth"
    torch.save(ClassificationTask(NAMES, backbone="toy").model.backbone.state_dict(), weights)
    _fit(tmp_path / "2", 1, None, finetune="full", weights=str(weights)).save_checkpoint(tmp_path / "tuned.ckpt")
    plain, tuned = "all, all/no_decay", "stem, stem/no_decay, stage1, stage1/no_decay, head, head/no_decay"
    name, mend = "parameter groups, which finetune makes", "to change it, begin a new run from the weights: --model"
    with pytest.raises(ValueError, match=f"has {plain} for its {name}, and now it is to be {tuned}; {mend}"):
        _fit(tmp_path / "3", 2, None, tmp_path / "plain.ckpt", finetune="full")
    with pytest.raises(ValueError, match=f"has {tuned} for its {name}, and now it is to be {plain}; {mend}"):
        _fit(tmp_path / "4", 2, None, tmp_path / "tuned.ckpt")
    # Another preset changes what is said of the same groups.
    assert _fit(tmp_path / "5", 2, None, tmp_path / "tuned.ckpt", finetune="head").current_epoch == 2


def test_schedule__is_that_of_now(tmp_path: Path) -> None:
    _fit(tmp_path / "1", 2, partial(StepLR, step_size=1, gamma=0.5)).save_checkpoint(tmp_path / "a.ckpt")
    again = _fit(tmp_path / "2", 4, partial(StepLR, step_size=1, gamma=0.1), tmp_path / "a.ckpt")
    assert _groups(again)[0]["lr"] == pytest.approx(0.1 * 0.5**2 * 0.1**2)


def test_warm_up__follows_what_is_said_now(tmp_path: Path) -> None:
    scheduler = partial(WarmupCosine, total_steps=100)
    _fit(tmp_path / "1", 1, scheduler).save_checkpoint(tmp_path / "a.ckpt")
    again = _fit(tmp_path / "2", 2, scheduler, tmp_path / "a.ckpt", lr=0.02)
    fresh = _fit(tmp_path / "3", 2, scheduler, lr=0.02)
    assert _groups(again)[0]["lr"] == pytest.approx(_groups(fresh)[0]["lr"])


@pytest.mark.parametrize("scheduler", [None, partial(StepLR, step_size=1, gamma=0.5), partial(WarmupCosine)])
def test_run__that_is_told_nothing_new_goes_on_as_it_was(scheduler: Any, tmp_path: Path) -> None:
    whole = _fit(tmp_path / "0", 4, scheduler)
    before = _fit(tmp_path / "2", 2, scheduler)
    before.save_checkpoint(tmp_path / "a.ckpt")
    again = _fit(tmp_path / "3", 4, scheduler, tmp_path / "a.ckpt")
    assert _groups(again) == _groups(whole)
    assert torch.load(tmp_path / "a.ckpt", weights_only=True)["resvision"]["said"]["optimizer"][0]["lr"] == 0.1


def test_milestones__are_those_of_now(tmp_path: Path) -> None:
    before = _fit(tmp_path / "1", 2, partial(MultiStepLR, milestones=[100]))
    before.save_checkpoint(tmp_path / "a.ckpt")
    again = _fit(tmp_path / "2", 4, partial(MultiStepLR, milestones=[3]), tmp_path / "a.ckpt")
    assert _groups(again)[0]["lr"] == pytest.approx(0.01)
    same = _fit(tmp_path / "3", 4, partial(MultiStepLR, milestones=[100]), tmp_path / "a.ckpt")
    assert _groups(same)[0]["lr"] == pytest.approx(0.1)


def _in_sequence(optimizer: Optimizer, gamma: float = 0.5, milestone: int = 1) -> SequentialLR:
    parts: list[LRScheduler] = [ConstantLR(optimizer), StepLR(optimizer, 1, gamma)]
    return SequentialLR(optimizer, parts, milestones=[milestone])


@pytest.mark.parametrize(
    ("scheduler", "other"),
    [
        (partial(OneCycleLR, max_lr=0.1, total_steps=12), partial(OneCycleLR, max_lr=0.5, total_steps=12)),
        (partial(OneCycleLR, max_lr=0.1, total_steps=12), partial(OneCycleLR, max_lr=0.1, total_steps=24)),
        (_in_sequence, partial(_in_sequence, gamma=0.1)),
        (_in_sequence, partial(_in_sequence, milestone=3)),
    ],
)
def test_schedule__of_parts_goes_on_with_its_settings_alone(scheduler: Any, other: Any, tmp_path: Path) -> None:
    whole = _fit(tmp_path / "0", 4, scheduler)
    _fit(tmp_path / "1", 2, scheduler).save_checkpoint(tmp_path / "a.ckpt")
    assert _groups(_fit(tmp_path / "2", 4, scheduler, tmp_path / "a.ckpt")) == _groups(whole)
    with pytest.raises(ValueError, match="that goes on cannot have other settings; say those of the run before"):
        _fit(tmp_path / "3", 4, other, tmp_path / "a.ckpt")
