import pytest
import torch

from resvision.layers import DropPath, drop_path_rates


def test_drop_path__drops_whole_samples_and_keeps_the_expectation() -> None:
    x = torch.ones(20_000, 2, 1, 1)
    kept = DropPath(0.25).train()(x)
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(kept[:, 0], kept[:, 1])
    # The mean of 20,000 draws has a standard error of 0.0041; four of them.
    assert kept.mean().item() == pytest.approx(1, abs=0.0164)


def test_drop_path__does_nothing_in_evaluation() -> None:
    x = torch.randn(4, 3)
    assert torch.equal(DropPath(0.5).eval()(x), x)


def test_drop_path__a_rate_of_one_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"a number, at least 0 and below 1, got 1\.0"):
        DropPath(1.0)


def test_drop_path_rates__grow_linearly_from_zero() -> None:
    assert drop_path_rates(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert drop_path_rates(0.3, 1) == [0]
