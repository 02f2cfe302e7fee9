import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch.optim import SGD
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, OneCycleLR, ReduceLROnPlateau

from resvision.tasks import ClassificationTask, DropAtSteps, WarmupCosine
from resvision.tasks.schedules import apply_factors_to_cycle
from tests.tasks.test_classification import NAMES, _loader
from tests.tasks.trainers import quiet_trainer


def _optimizer(lr: float = 2.0) -> SGD:
    return SGD(torch.nn.Linear(1, 1).parameters(), lr=lr)


def _rates(schedule: LRScheduler, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        rates.append(float(schedule.optimizer.param_groups[0]["lr"]))
        schedule.optimizer.step()
        schedule.step()
    return rates


def test_warmup_cosine__rises_in_a_line_and_falls_along_half_a_cosine() -> None:
    schedule = WarmupCosine(_optimizer(), total_steps=12, warmup=0.25)
    rising = [2 / 4, 4 / 4, 6 / 4]
    falling = [1 + math.cos(math.pi * i / 9) for i in range(9)]
    assert _rates(schedule, 12) == pytest.approx(rising + falling)
    assert schedule.get_last_lr() == pytest.approx([0.0])
    assert _rates(schedule, 3) == [0.0, 0.0, 0.0]


def test_warmup_cosine__falls_from_the_start_without_a_warmup() -> None:
    schedule = WarmupCosine(_optimizer(), total_steps=4, warmup=0.0)
    assert _rates(schedule, 4) == pytest.approx([1 + math.cos(math.pi * i / 4) for i in range(4)])


def test_warmup_cosine__keeps_the_ratio_of_parameter_groups() -> None:
    groups: list[dict[str, Any]] = [{"params": torch.zeros(1)}, {"params": torch.zeros(1), "lr": 0.5}]
    optimizer = SGD(groups, lr=2.0)
    schedule = WarmupCosine(optimizer, total_steps=10)
    for _ in range(10):
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates[1] == pytest.approx(rates[0] / 4)
        optimizer.step()
        schedule.step()


def test_warmup_cosine__is_told_the_length_later() -> None:
    schedule = WarmupCosine(_optimizer(), warmup=0.25)
    schedule.run_for(12)
    assert _rates(schedule, 12) == pytest.approx(_rates(WarmupCosine(_optimizer(), total_steps=12, warmup=0.25), 12))


def test_warmup_cosine__follows_what_a_continued_run_is_told() -> None:
    first = WarmupCosine(_optimizer(), total_steps=10, warmup=0.2)
    _rates(first, 6)
    longer = WarmupCosine(_optimizer(lr=3.0), total_steps=20, warmup=0.1)
    longer.load_state_dict(first.state_dict())
    expected = _rates(WarmupCosine(_optimizer(lr=3.0), total_steps=20, warmup=0.1), 20)
    assert _rates(longer, 14) == pytest.approx(expected[6:])


def test_warmup_cosine__says_that_it_does_not_know_the_length() -> None:
    schedule = WarmupCosine(_optimizer())
    schedule.optimizer.step()
    with pytest.raises(ValueError, match="give total_steps"):
        schedule.step()


@pytest.mark.parametrize("warmup", [-0.1, 1.0, 5.0])
def test_warmup_cosine__refuses_a_warmup_that_is_no_part(warmup: float) -> None:
    with pytest.raises(ValueError, match=f"from 0 to below 1, got {warmup}"):
        WarmupCosine(_optimizer(), total_steps=10, warmup=warmup)


@pytest.mark.parametrize("total_steps", [0, -5, 2.5])
def test_warmup_cosine__refuses_a_run_without_steps(total_steps: Any) -> None:
    with pytest.raises(ValueError, match=f"total_steps must be a whole number of at least 1, got {total_steps}"):
        WarmupCosine(_optimizer(), total_steps=total_steps)


def test_drop_at_steps__is_torchs_multi_step() -> None:
    ours, torchs = SGD([torch.zeros(1)], lr=0.5), SGD([torch.zeros(1)], lr=0.5)
    expected = _rates(MultiStepLR(torchs, [3, 5]), 7)
    assert _rates(DropAtSteps(ours, steps=[3, 5]), 7) == pytest.approx(expected)


def test_drop_at_steps__goes_on_from_its_state() -> None:
    optimizer = SGD([torch.zeros(1)], lr=0.5)
    schedule = DropAtSteps(optimizer, steps=[2], factor=0.5)
    for _ in range(2):
        optimizer.step()
        schedule.step()
    other = SGD([torch.zeros(1)], lr=0.5)
    again = DropAtSteps(other, steps=[2], factor=0.5)
    other.load_state_dict(optimizer.state_dict())
    again.load_state_dict(schedule.state_dict())
    other.step()
    again.step()
    assert other.param_groups[0]["lr"] == 0.25


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"steps": [5, 3]}, "each larger than the one before"), ({"steps": [3], "factor": 1.0}, "between 0 and 1")],
)
def test_drop_at_steps__refuses_what_cannot_be(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DropAtSteps(SGD([torch.zeros(1)], lr=0.5), **arguments)


@pytest.mark.filterwarnings("ignore:ReduceLROnPlateau conditioned on metric")
@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"check_val_every_n_epoch": 2}, 3),
        # After the batches 4, 8, 12 and 16 of 18: two validations in the same epoch are looked at once.
        ({"check_val_every_n_epoch": None, "val_check_interval": 4}, 4),
        ({"check_val_every_n_epoch": None, "val_check_interval": 7}, 2),
    ],
)
def test_plateau__counts_validations(settings: dict[str, Any], steps: int, tmp_path: Path) -> None:
    scheduler = partial(ReduceLROnPlateau, mode="max")
    task = ClassificationTask(NAMES, backbone="toy", optimizer=partial(SGD, lr=0.1), scheduler=scheduler)
    trainer = quiet_trainer(tmp_path, max_epochs=6, **settings)
    trainer.fit(task, _loader(12, 3), _loader())
    plateau = trainer.lr_scheduler_configs[0].scheduler
    assert isinstance(plateau, ReduceLROnPlateau)
    assert plateau.last_epoch == steps


def test_warmup_cosine__ends_with_a_run_that_accumulates_epoch_by_epoch(tmp_path: Path) -> None:
    task = ClassificationTask(NAMES, backbone="toy", scheduler=WarmupCosine)
    accumulation = GradientAccumulationScheduler({0: 1, 1: 3, 3: 2})
    trainer = quiet_trainer(tmp_path, max_epochs=4, callbacks=[accumulation])
    trainer.fit(task, _loader(12, 3), _loader())
    schedule = trainer.lr_scheduler_configs[0].scheduler
    assert isinstance(schedule, WarmupCosine)
    assert schedule.total_steps == trainer.global_step == 3 + 1 + 1 + 2


def test_cycle__of_a_peak_for_each_group_keeps_them() -> None:
    groups: list[dict[str, Any]] = [{"params": torch.zeros(1), "lr_factor": factor} for factor in (0.1, 1.0)]
    schedule = OneCycleLR(SGD(groups, lr=1.0, momentum=0.9), max_lr=[0.3, 0.5], total_steps=10)
    apply_factors_to_cycle(schedule)
    assert [group["max_lr"] for group in schedule.optimizer.param_groups] == [0.3, 0.5]
