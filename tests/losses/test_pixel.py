"""The oracles are torch and segmentation_models_pytorch, for values and gradients alike."""

from collections.abc import Callable
from typing import Any

import pytest
import segmentation_models_pytorch.losses as smp
import torch
from segmentation_models_pytorch.losses._functional import softmax_focal_loss_with_logits
from torch import Tensor
from torch.nn import functional as F

from resvision.losses import LOSSES, PixelLoss, cross_entropy, dice_loss, focal_loss

IGNORED = 255
Oracle = Callable[[Tensor, Tensor], Tensor]


def _logits(channels: int) -> Tensor:
    return 3 * torch.randn(2, channels, 9, 7, dtype=torch.float64)


def _target(classes: int, ignored: bool) -> Tensor:
    target = torch.randint(0, classes, (2, 9, 7), dtype=torch.uint8)
    if ignored:
        target[torch.rand(target.shape) < 0.3] = IGNORED
    return target


def _value_and_gradient(loss: Oracle, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.clone().requires_grad_()
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


def _same(ours: Oracle, theirs: Oracle, logits: Tensor, target: Tensor) -> None:
    for precise, tolerance in ((logits, 1e-10), (logits.float(), 1e-6)):
        value, gradient = _value_and_gradient(ours, precise, target)
        expected, expected_gradient = _value_and_gradient(theirs, precise, target.long())
        # Rounding goes with the value, which may be larger than 1.
        torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=tolerance)


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("classes", [2, 5])
def test_cross_entropy__of_classes_equals_torch(classes: int, ignored: bool) -> None:
    _same(
        cross_entropy,
        lambda x, y: F.cross_entropy(x, y, ignore_index=IGNORED),
        _logits(classes),
        _target(classes, ignored),
    )


@pytest.mark.parametrize("ignored", [False, True])
def test_cross_entropy__with_class_weights_equals_torch(ignored: bool) -> None:
    weights = torch.tensor([0.5, 2.0, 0.0, 1.0, 7.0])
    _same(
        lambda x, y: cross_entropy(x, y, class_weights=weights),
        lambda x, y: F.cross_entropy(x, y, weight=weights.to(x.dtype), ignore_index=IGNORED),
        _logits(5),
        _target(5, ignored),
    )


def test_cross_entropy__of_one_logit_with_class_weights_equals_that_of_two() -> None:
    # A sigmoid of x is a softmax of (0, x).
    weights, target = torch.tensor([0.5, 3.0]), _target(2, ignored=True)
    _same(
        lambda x, y: cross_entropy(x, y, class_weights=weights),
        lambda x, y: F.cross_entropy(
            torch.cat([torch.zeros_like(x), x], dim=1), y, weight=weights.to(x.dtype), ignore_index=IGNORED
        ),
        _logits(1),
        target,
    )


@pytest.mark.parametrize("present", [IGNORED, 1])
def test_cross_entropy__with_class_weights_is_zero_where_nothing_weighs(present: int) -> None:
    target = torch.full((2, 9, 7), present, dtype=torch.uint8)
    weights = torch.tensor([1.0, 0.0, 1.0])
    value, gradient = _value_and_gradient(lambda x, y: cross_entropy(x, y, class_weights=weights), _logits(3), target)
    assert value.item() == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_cross_entropy__refuses_another_number_of_class_weights() -> None:
    with pytest.raises(ValueError, match=r"class_weights must have the shape \(3,\), got \(2,\)"):
        cross_entropy(_logits(3), _target(3, ignored=False), class_weights=torch.ones(2))


def test_cross_entropy__equals_smp_but_for_its_mean_over_ignored_pixels() -> None:
    logits, target = _logits(5), _target(5, ignored=True)
    theirs = smp.SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=IGNORED)
    share = (target != IGNORED).double().mean()
    # They divide by all pixels; what is ignored would then make the rest of the picture count less.
    _same(lambda x, y: cross_entropy(x, y) * share.to(x.dtype), theirs, logits, target)


@pytest.mark.parametrize("ignored", [False, True])
def test_cross_entropy__of_one_logit_equals_torch(ignored: bool) -> None:
    def theirs(logits: Tensor, target: Tensor) -> Tensor:
        keep = target != IGNORED
        return F.binary_cross_entropy_with_logits(logits[:, 0][keep], target[keep].to(logits.dtype))

    _same(cross_entropy, theirs, _logits(1), _target(2, ignored))


@pytest.mark.parametrize("ignored", [False, True])
def test_dice__of_classes_equals_smp(ignored: bool) -> None:
    theirs = smp.DiceLoss("multiclass", ignore_index=IGNORED)
    _same(dice_loss, theirs, _logits(5), _target(5, ignored))


@pytest.mark.parametrize("ignored", [False, True])
def test_dice__of_one_logit_equals_smp(ignored: bool) -> None:
    theirs = smp.DiceLoss("binary", ignore_index=IGNORED)
    _same(dice_loss, lambda x, y: theirs(x, y.unsqueeze(1)), _logits(1), _target(2, ignored))


def _one_hot_dice(logits: Tensor, target: Tensor) -> Tensor:
    keep = (target != IGNORED).unsqueeze(1)
    truth = F.one_hot(torch.where(target == IGNORED, 0, target), logits.shape[1]).movedim(-1, 1) * keep
    probability = logits.softmax(dim=1) * keep
    pixels = truth.sum(dim=(0, 2, 3))
    dice = 2 * (truth * probability).sum(dim=(0, 2, 3)) / (pixels + probability.sum(dim=(0, 2, 3)))
    return (1 - dice)[pixels > 0].mean()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("ignored", [False, True])
def test_dice__equals_a_one_hot_computation(ignored: bool, memory_format: torch.memory_format) -> None:
    logits = _logits(5).contiguous(memory_format=memory_format)
    _same(dice_loss, _one_hot_dice, logits, _target(4, ignored))


def test_dice__of_millions_of_pixels_keeps_its_digits() -> None:
    # Summed one by one in fp32, two million times 0.9 is wrong by 2 %.
    target = torch.zeros(2, 1024, 1024, dtype=torch.uint8)
    logits = torch.tensor([9.0, 1.0]).log().view(1, 2, 1, 1).expand(2, 2, 1024, 1024)
    # Class 0 is everywhere and has 0.9 of each pixel; class 1 is absent.
    assert dice_loss(logits, target).item() == pytest.approx(1 - 2 * 0.9 / 1.9, rel=1e-4)


def test_dice__leaves_absent_classes_out_of_the_mean() -> None:
    logits, target = _logits(5), _target(3, ignored=True)
    theirs = smp.DiceLoss("multiclass", ignore_index=IGNORED)
    # They count an absent class as a loss of 0, which shrinks the loss to 3 / 5 here.
    _same(dice_loss, lambda x, y: theirs(x, y) * 5 / 3, logits, target)


def test_dice__runs_from_0_for_the_truth_to_1_for_its_opposite() -> None:
    target = torch.tensor([[[0, 0, 1, 1]]])
    truth = 200.0 * F.one_hot(target, 3).permute(0, 3, 1, 2)
    assert dice_loss(truth, target).item() == pytest.approx(0.0, abs=1e-6)
    assert dice_loss(truth.flip(-1), target).item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("ignored", [False, True])
def test_focal__of_classes_equals_smp_softmax_form(ignored: bool) -> None:
    def theirs(logits: Tensor, target: Tensor) -> Tensor:
        keep = target != IGNORED
        loss: Tensor = softmax_focal_loss_with_logits(logits.movedim(1, -1)[keep], target[keep], gamma=2.0)
        return loss

    _same(focal_loss, theirs, _logits(5), _target(5, ignored))


@pytest.mark.parametrize("ignored", [False, True])
def test_focal__of_one_logit_equals_smp(ignored: bool) -> None:
    theirs = smp.FocalLoss("binary", gamma=2.0, ignore_index=IGNORED)
    _same(focal_loss, theirs, _logits(1), _target(2, ignored))


def test_focal__of_each_class_alone_equals_smp_one_against_all_form() -> None:
    # Their multi-class form is a sigmoid per class, as in the paper; it is our binary one, class by class.
    logits, target = _logits(4), _target(4, ignored=True)

    def ours(x: Tensor, y: Tensor) -> Tensor:
        one = [focal_loss(x[:, [k]], torch.where(y == IGNORED, y, (y == k).to(y.dtype))) for k in range(4)]
        return torch.stack(one).mean()

    _same(ours, smp.FocalLoss("multiclass", gamma=2.0, ignore_index=IGNORED), logits, target)


def test_focal__without_focus_is_cross_entropy() -> None:
    _same(
        lambda x, y: focal_loss(x, y, gamma=0.0),
        lambda x, y: F.cross_entropy(x, y, ignore_index=IGNORED),
        _logits(5),
        _target(5, ignored=True),
    )


@pytest.mark.parametrize("gamma", [0.5, 1.0])
def test_focal__has_finite_gradients_where_the_truth_is_certain(gamma: float) -> None:
    logits = torch.tensor([200.0, -200.0]).view(1, 2, 1, 1)
    target = torch.zeros(1, 1, 1, dtype=torch.uint8)
    _, gradient = _value_and_gradient(lambda x, y: focal_loss(x, y, gamma=gamma), logits, target)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_focal__refuses_negative_gamma() -> None:
    with pytest.raises(ValueError, match=r"0 or more, got -1"):
        focal_loss(_logits(2), _target(2, ignored=False), gamma=-1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_losses__of_nothing_but_ignored_pixels_are_zero(name: str, channels: int) -> None:
    target = torch.full((2, 9, 7), IGNORED, dtype=torch.uint8)
    value, gradient = _value_and_gradient(LOSSES[name], _logits(channels), target)
    assert value.item() == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_losses__do_not_see_logits_of_ignored_pixels(name: str, channels: int) -> None:
    logits, target = _logits(channels), _target(max(channels, 2), ignored=True)
    value, gradient = _value_and_gradient(LOSSES[name], logits, target)
    ignored = (target == IGNORED).unsqueeze(1).expand_as(logits)
    changed = torch.where(ignored, torch.randn_like(logits), logits)
    assert torch.equal(value, LOSSES[name](changed, target))
    assert not gradient[ignored].any()


@pytest.mark.parametrize("name", LOSSES)
def test_losses__take_another_ignore_index(name: str) -> None:
    # A class's own number as the ignored value: the class stays an output but no pixel asks for it.
    loss: PixelLoss = LOSSES[name]
    logits, target = _logits(3), _target(3, ignored=False)
    expected = loss(logits, torch.where(target == 0, IGNORED, target))
    torch.testing.assert_close(loss(logits, target, ignore_index=0), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_losses__reckon_in_fp32_under_autocast(name: str) -> None:
    logits, target = _logits(3).bfloat16(), _target(3, ignored=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = LOSSES[name](logits, target)
    torch.testing.assert_close(value, LOSSES[name](logits.float(), target), rtol=0, atol=1e-6)
    assert value.dtype == torch.float32


@pytest.mark.parametrize("loss", [cross_entropy, focal_loss, dice_loss])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("shape", [(2, 4, 4), (1, 8, 8), (2, 8, 4), (2, 1, 8, 8)])
def test_losses__refuse_a_target_of_another_size(loss: Any, classes: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"must have the pictures and the size of the logits, got logits \(2, \d, 8, 8\)"
    ):
        loss(torch.randn(2, classes, 8, 8), torch.zeros(shape, dtype=torch.int64))
