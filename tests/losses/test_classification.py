"""Checked against torchvision's and by hand, in fp64."""

import math

import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from resvision.losses import ClassificationLoss, classification_loss, focal_loss, multi_label_loss

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, -2.0]], dtype=torch.float64)
LABEL = torch.tensor([0, 2])
WEIGHTS = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)


def test_cross_entropy__is_torchs() -> None:
    found = classification_loss(LOGITS, LABEL, class_weights=WEIGHTS, label_smoothing=0.1)
    assert found.item() == pytest.approx(F.cross_entropy(LOGITS, LABEL, WEIGHTS, label_smoothing=0.1).item())


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "focal"])
def test_loss__of_shares_that_are_one_class_is_that_of_the_class(loss: ClassificationLoss) -> None:
    hard = classification_loss(LOGITS, LABEL, loss=loss, label_smoothing=0.2)
    soft = classification_loss(LOGITS, F.one_hot(LABEL, 3).double(), loss=loss, label_smoothing=0.2)
    assert hard.item() == pytest.approx(soft.item())


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "focal"])
def test_loss__with_class_weights_of_shares_that_are_one_class_is_that_of_the_class(loss: ClassificationLoss) -> None:
    truths = LABEL, F.one_hot(LABEL, 3).double()
    hard, soft = (classification_loss(LOGITS, truth, loss=loss, class_weights=WEIGHTS) for truth in truths)
    assert hard.item() == pytest.approx(soft.item())


def test_cross_entropy__with_class_weights_of_a_mixed_picture_is_a_weighted_mean() -> None:
    shares = torch.tensor([[0.25, 0.75, 0.0]], dtype=torch.float64)
    ends = [classification_loss(LOGITS[:1], torch.tensor([k])).item() for k in (0, 1)]
    found = classification_loss(LOGITS[:1], shares, class_weights=WEIGHTS).item()
    assert found == pytest.approx((0.25 * 1 * ends[0] + 0.75 * 2 * ends[1]) / (0.25 * 1 + 0.75 * 2))


def test_focal__equals_that_of_pixels_and_a_hand_computation() -> None:
    found = classification_loss(LOGITS, LABEL, loss="focal").item()
    assert found == pytest.approx(focal_loss(LOGITS[..., None, None], LABEL[:, None, None]).item())
    exponentials = [[math.exp(v) for v in row] for row in LOGITS.tolist()]
    p = [exponentials[0][0] / sum(exponentials[0]), exponentials[1][2] / sum(exponentials[1])]
    terms = [-((1 - q) ** 2) * math.log(q) for q in p]
    assert found == pytest.approx(sum(terms) / 2)
    weighted = classification_loss(LOGITS, LABEL, loss="focal", class_weights=WEIGHTS).item()
    assert weighted == pytest.approx((terms[0] + 4 * terms[1]) / 5)


def test_focal__of_a_mixed_picture_lies_between() -> None:
    shares = torch.tensor([[0.25, 0.75, 0.0]], dtype=torch.float64)
    ends = [classification_loss(LOGITS[:1], torch.tensor([k]), loss="focal").item() for k in (0, 1)]
    found = classification_loss(LOGITS[:1], shares, loss="focal").item()
    assert found == pytest.approx(0.25 * ends[0] + 0.75 * ends[1])


def test_binary__averages_the_classes_and_knows_smoothing() -> None:
    found = classification_loss(LOGITS, LABEL, loss="binary_cross_entropy", label_smoothing=0.3).item()
    truth = [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]
    terms = [
        -t * math.log(1 / (1 + math.exp(-x))) - (1 - t) * math.log(1 / (1 + math.exp(x)))
        for row, truths in zip(LOGITS.tolist(), truth, strict=True)
        for x, t in zip(row, truths, strict=True)
    ]
    assert found == pytest.approx(sum(terms) / 6)


def test_multi_label__equals_torch_and_torchvision() -> None:
    target = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    binary = multi_label_loss(LOGITS, target, class_weights=WEIGHTS).item()
    assert binary == pytest.approx(F.binary_cross_entropy_with_logits(LOGITS, target, WEIGHTS).item())
    focal = multi_label_loss(LOGITS, target, loss="focal").item()
    assert focal == pytest.approx(sigmoid_focal_loss(LOGITS, target, alpha=-1, gamma=2, reduction="mean").item())
    smooth = multi_label_loss(LOGITS, target, label_smoothing=0.2).item()
    assert smooth == pytest.approx(F.binary_cross_entropy_with_logits(LOGITS, 0.8 * target + 0.1).item())


def test_multi_label__refuses_a_softmax() -> None:
    with pytest.raises(ValueError, match="need the loss binary_cross_entropy or focal"):
        multi_label_loss(LOGITS, torch.zeros(2, 3), loss="cross_entropy")


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "focal"])
def test_loss__is_computed_in_fp32_and_has_a_slope_where_the_truth_is_certain(loss: ClassificationLoss) -> None:
    logits = torch.tensor([[40.0, -40.0]], dtype=torch.bfloat16, requires_grad=True)
    found = classification_loss(logits, torch.tensor([0]), loss=loss)
    found.backward()  # type: ignore[no-untyped-call]
    assert found.dtype == torch.float32
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_losses__know_no_other_names() -> None:
    logits, target = torch.randn(2, 3), torch.tensor([0, 2])
    with pytest.raises(
        ValueError, match="loss must be one of 'cross_entropy', 'binary_cross_entropy', 'focal', got 'bce'"
    ):
        classification_loss(logits, target, loss="bce")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"loss must be one of .*, got 'focall'"):
        multi_label_loss(logits, torch.eye(3)[:2], loss="focall")  # type: ignore[arg-type]
