"""Means of training steps: their values, when they are due, and how they go on from a checkpoint."""

import numpy as np
import pytest
import torch
from torch import Tensor

from resvision.tasks.running_means import RunningMeans

CPU = torch.device("cpu")


def _noted(means: RunningMeans, values: list[float]) -> None:
    for value in values:
        means.note("loss", torch.tensor(value))
        means.note("accuracy", torch.tensor(1 - value))
        means.end_step()


def test_means__are_those_of_the_steps_since_the_last() -> None:
    means = RunningMeans()
    means.begin(0, CPU)
    _noted(means, [0.5, 0.25, 0.75])
    first = means.take(3)
    assert first["loss"].item() == pytest.approx(np.mean([0.5, 0.25, 0.75]))
    assert first["accuracy"].item() == pytest.approx(1 - np.mean([0.5, 0.25, 0.75]))
    _noted(means, [1.0, 3.0])
    assert means.take(5)["loss"].item() == 2


def test_means__are_due_once_at_the_end_of_a_stretch() -> None:
    means = RunningMeans()
    means.begin(4, CPU)
    assert [step for step in range(4, 13) if means.are_due(step, 4)] == [8, 12]
    assert not any(means.are_due(step, 0) for step in range(13))
    _noted(means, [1.0])
    means.take(8)
    assert not means.are_due(8, 4)  # gradients accumulate: the step stands still


def test_means__go_on_with_what_was_kept() -> None:
    values = np.random.default_rng(0).random(7).tolist()
    whole, before, after = RunningMeans(), RunningMeans(), RunningMeans()
    whole.begin(10, CPU)
    _noted(whole, values)
    before.begin(10, CPU)
    _noted(before, values[:4])
    after.load_state(before.state(torch.clone))
    after.begin(12, CPU)
    _noted(after, values[4:])
    assert not after.are_due(10, 5)
    assert {name: value.item() for name, value in after.take(15).items()} == {
        name: value.item() for name, value in whole.take(15).items()
    }


def test_kept_sums__are_reduced_and_the_means_go_on_with_their_own() -> None:
    def of_all(value: Tensor) -> Tensor:
        return value + 10

    means = RunningMeans()
    means.begin(0, CPU)
    _noted(means, [1.0, 2.0])
    sums, steps, taken_at = means.state(of_all)
    assert (sums["loss"].item(), steps, taken_at) == (13, 2, 0)
    assert means.take(2)["loss"].item() == 1.5


def test_loaded_means__are_begun_with_once() -> None:
    means = RunningMeans()
    means.load_state(({"loss": torch.tensor(6.0)}, 2, 3))
    means.begin(5, CPU)
    assert means.take(6)["loss"].item() == 3
    means.begin(7, CPU)
    _noted(means, [4.0])
    assert means.take(8)["loss"].item() == 4
