import pytest
import torch

from resvision.losses import WeightedSum, cross_entropy, dice_loss


def test_weighted_sum__adds_what_its_terms_give() -> None:
    logits, target = torch.randn(2, 3, 5, 4), torch.randint(0, 3, (2, 5, 4), dtype=torch.uint8)
    loss = WeightedSum({"cross_entropy": 0.5, "dice": 2.0})
    expected = 0.5 * cross_entropy(logits, target) + 2.0 * dice_loss(logits, target)
    torch.testing.assert_close(loss(logits, target), expected, rtol=0, atol=0)


def test_weighted_sum__passes_the_ignored_value_on() -> None:
    logits, target = torch.randn(2, 3, 5, 4), torch.randint(0, 3, (2, 5, 4), dtype=torch.uint8)
    loss = WeightedSum({"cross_entropy": 1.0}, ignore_index=2)
    expected = cross_entropy(logits, target, ignore_index=2)
    torch.testing.assert_close(loss(logits, target), expected, rtol=0, atol=0)
    assert not torch.equal(expected, cross_entropy(logits, target))


def test_weighted_sum__names_the_nearest_loss() -> None:
    with pytest.raises(ValueError, match=r"^unknown loss 'cross_entrpy'; did you mean 'cross_entropy'\?$"):
        WeightedSum({"cross_entrpy": 1.0})


def test_weighted_sum__names_all_losses_where_none_is_near() -> None:
    with pytest.raises(ValueError, match=r"^unknown loss 'x'; there are cross_entropy, dice, focal$"):
        WeightedSum({"x": 1.0})


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weighted_sum__refuses_a_weight_that_is_none(weight: float) -> None:
    with pytest.raises(ValueError, match="weight of loss 'dice'"):
        WeightedSum({"cross_entropy": 1.0, "dice": weight})


def test_weighted_sum__refuses_no_loss_at_all() -> None:
    with pytest.raises(ValueError, match="no loss is named; choose from cross_entropy, dice, focal"):
        WeightedSum({})


def test_weighted_sum__weights_the_classes_of_the_cross_entropy_alone() -> None:
    logits, target = torch.randn(2, 3, 5, 4), torch.randint(0, 3, (2, 5, 4), dtype=torch.uint8)
    loss = WeightedSum({"cross_entropy": 0.5, "dice": 2.0}, class_weights=[1, 0, 4])
    weights = torch.tensor([1.0, 0.0, 4.0])
    expected = 0.5 * cross_entropy(logits, target, class_weights=weights) + 2.0 * dice_loss(logits, target)
    torch.testing.assert_close(loss(logits, target), expected, rtol=0, atol=0)
    assert not loss.state_dict()


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [2.0, -1.0], [1.0, float("nan")], [1.0, float("inf")]])
def test_weighted_sum__refuses_class_weights_that_are_none(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="class_weights must be finite, 0 or more and not all 0"):
        WeightedSum({"cross_entropy": 1.0}, class_weights=weights)


def test_weighted_sum__refuses_class_weights_without_a_cross_entropy() -> None:
    with pytest.raises(ValueError, match="class_weights go into cross_entropy, and the losses are dice, focal"):
        WeightedSum({"dice": 1.0, "focal": 1.0}, class_weights=[1.0, 2.0])
