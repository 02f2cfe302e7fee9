"""Sums of the losses of tasks, against the paper's formula by hand."""

import math

import pytest
import torch

from resvision.losses import FixedWeights, UncertaintyWeights


def test_fixed__adds_what_there_is() -> None:
    weighting = FixedWeights({"mask": 2.0, "label": 0.5})
    assert weighting({"label": torch.tensor(4.0), "mask": torch.tensor(3.0)}).item() == 8.0
    assert weighting({"label": torch.tensor(4.0)}).item() == 2.0
    assert weighting.weights() == {"mask": 2.0, "label": 0.5}
    assert not list(weighting.parameters())


@pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan])
def test_fixed__refuses_what_is_no_weight(weight: float) -> None:
    with pytest.raises(ValueError, match="the weight of mask must be a finite number above 0"):
        FixedWeights({"mask": weight})


def test_uncertainty__begins_as_a_plain_sum() -> None:
    weighting = UncertaintyWeights(["mask", "label"])
    assert weighting({"mask": torch.tensor(3.0), "label": torch.tensor(4.0)}).item() == 7.0
    assert weighting.weights() == {"mask": 1.0, "label": 1.0}


def test_uncertainty__equals_the_papers_formula_and_its_slopes() -> None:
    weighting = UncertaintyWeights(["mask", "label"])
    sigma = {"mask": 0.5, "label": 3.0}
    with torch.no_grad():
        for task, value in sigma.items():
            weighting.log_variances[task].fill_(math.log(value**2))
    losses = {"mask": 1.25, "label": 4.0}
    given = {task: torch.tensor(loss, requires_grad=True) for task, loss in losses.items()}
    total = weighting(given)
    total.backward()
    expected = sum(losses[task] / sigma[task] ** 2 + math.log(sigma[task]) for task in losses)
    assert total.item() == pytest.approx(expected, rel=1e-6)
    for task, value in sigma.items():
        slope, factor = weighting.log_variances[task].grad, given[task].grad
        assert slope is not None
        assert factor is not None
        assert factor.item() == pytest.approx(1 / value**2, rel=1e-6)
        # d/ds of exp(-s) loss + s / 2
        assert slope.item() == pytest.approx(-losses[task] / value**2 + 0.5, rel=1e-6)
        assert weighting.weights()[task] == pytest.approx(1 / value**2, rel=1e-6)


def test_uncertainty__rests_at_a_variance_of_twice_the_loss() -> None:
    weighting = UncertaintyWeights(["label"])
    optimizer = torch.optim.SGD(weighting.parameters(), lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        weighting({"label": torch.tensor(0.2)}).backward()
        optimizer.step()
    assert weighting.weights()["label"] == pytest.approx(1 / 0.4, rel=1e-4)


def test_uncertainty__of_a_task_without_a_loss_stays() -> None:
    weighting = UncertaintyWeights(["mask", "label"])
    total = weighting({"label": torch.tensor(4.0)})
    total.backward()
    assert total.item() == 4.0
    assert weighting.log_variances["mask"].grad is None
