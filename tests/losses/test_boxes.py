"""The losses of boxes equal torchvision's, and quality focal loss a computation by hand."""

import math
from typing import Any

import pytest
import torch
from torchvision import ops

from resvision.losses import box_giou, box_iou, quality_focal_loss, sigmoid_focal_loss


def _boxes(count: int) -> torch.Tensor:
    corners = torch.rand(count, 2) * 50
    return torch.cat([corners, corners + torch.rand(count, 2) * 40 + 1], dim=1)


def test_box_iou__equals_torchvisions() -> None:
    first, second = _boxes(40), _boxes(40)
    torch.testing.assert_close(box_iou(first, second), ops.box_iou(first, second).diagonal(), rtol=1e-5, atol=1e-6)


def test_box_giou__equals_torchvisions_with_its_slope() -> None:
    first, second = _boxes(40).requires_grad_(), _boxes(40)
    expected = ops.generalized_box_iou_loss(first, second, reduction="sum")
    (slope,) = torch.autograd.grad(expected, first)
    found = (1 - box_giou(first, second)).sum()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, first)[0], slope)


def test_box_giou__is_finite_for_boxes_without_an_area() -> None:
    box = torch.tensor([[3.0, 3.0, 3.0, 3.0]], requires_grad=True)
    loss = (1 - box_giou(box, torch.tensor([[3.0, 3.0, 4.0, 4.0], [9.0, 9.0, 9.0, 9.0]]))).sum()
    torch.autograd.backward(loss)
    assert math.isfinite(loss.item())
    assert box.grad is not None
    assert box.grad.isfinite().all()


def test_sigmoid_focal_loss__equals_torchvisions_with_its_slope() -> None:
    logits = (torch.randn(30, 4) * 4).requires_grad_()
    target = torch.rand(30, 4).round()
    expected = ops.sigmoid_focal_loss(logits, target, reduction="none")
    found = sigmoid_focal_loss(logits, target)
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(loss.sum(), logits, retain_graph=True)[0] for loss in (found, expected)]
    torch.testing.assert_close(slopes[0], slopes[1])


@pytest.mark.parametrize(("score", "quality"), [(0.2, 0.7), (0.9, 0.0), (0.5, 0.5)])
def test_quality_focal_loss__equals_the_formula(score: float, quality: float) -> None:
    logit = torch.tensor(math.log(score / (1 - score)))
    expected = -((quality - score) ** 2) * ((1 - quality) * math.log(1 - score) + quality * math.log(score))
    assert quality_focal_loss(logit, torch.tensor(quality)).item() == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("loss", [sigmoid_focal_loss, quality_focal_loss])
def test_focal_losses__are_computed_in_fp32_and_stay_finite(loss: object) -> None:
    assert callable(loss)
    logits = torch.tensor([100.0, -100.0, 30.0], dtype=torch.bfloat16, requires_grad=True)
    value = loss(logits, torch.tensor([0.0, 1.0, 1.0]))
    assert value.dtype == torch.float32
    value.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert value.isfinite().all()


@pytest.mark.parametrize("overlap", [box_iou, box_giou])
def test_overlaps__of_half_precision_are_those_of_its_numbers(overlap: Any) -> None:
    first, second = torch.tensor([[0.0, 0, 300, 300]]), torch.tensor([[100.0, 0, 400, 300]])
    found = overlap(first.half(), second.half())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, overlap(first, second))
    assert found.item() == pytest.approx(0.5)
