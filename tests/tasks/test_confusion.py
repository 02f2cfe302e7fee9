from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor
from torch.multiprocessing.spawn import spawn
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassJaccardIndex,
    MulticlassPrecision,
    MulticlassRecall,
)

from resvision.tasks.confusion import ClassificationScores, ConfusionMatrix, SegmentationScores

NAN = float("nan")


def _scores(prediction: Tensor, target: Tensor, classes: int) -> SegmentationScores:
    metric = ConfusionMatrix(classes)
    metric.update(prediction, target)
    return SegmentationScores.of(metric.compute())


def _split(classes: int) -> tuple[Tensor, Tensor]:
    target = torch.randint(0, classes, (6, 20, 15))
    # Two in three pixels are right, so that the scores differ from those of chance.
    prediction = torch.where(torch.rand(target.shape) < 0.66, target, torch.randint(0, classes, target.shape))
    target[torch.rand(target.shape) < 0.2] = 255
    return prediction, target.to(torch.uint8)


def test_confusion__equals_a_hand_computation() -> None:
    target = torch.tensor([[0, 0, 0, 1], [1, 1, 2, 255]], dtype=torch.uint8)
    prediction = torch.tensor([[0, 0, 1, 1], [1, 2, 2, 0]])
    scores = _scores(prediction, target, 3)
    assert scores.iou.tolist() == pytest.approx([2 / 3, 2 / 4, 1 / 2])
    assert scores.dice.tolist() == pytest.approx([4 / 5, 4 / 6, 2 / 3])
    assert scores.share.tolist() == pytest.approx([3 / 7, 3 / 7, 1 / 7])
    assert scores.mean_iou.item() == pytest.approx((2 / 3 + 1 / 2 + 1 / 2) / 3)
    assert scores.mean_dice.item() == pytest.approx((4 / 5 + 2 / 3 + 2 / 3) / 3)
    assert scores.pixel_accuracy.item() == pytest.approx(5 / 7)


def test_confusion__equals_torchmetrics_and_smp() -> None:
    prediction, target = _split(5)
    scores = _scores(prediction, target, 5)
    jaccard = MulticlassJaccardIndex(5, ignore_index=255, average="none")(prediction, target.long())
    dice = MulticlassF1Score(5, ignore_index=255, average="none")(prediction, target.long())
    accuracy = MulticlassAccuracy(5, ignore_index=255, average="micro")(prediction, target.long())
    torch.testing.assert_close(scores.iou.float(), jaccard)
    torch.testing.assert_close(scores.dice.float(), dice)
    torch.testing.assert_close(scores.pixel_accuracy.float(), accuracy)
    counts = smp.metrics.get_stats(prediction, target.long(), mode="multiclass", num_classes=5, ignore_index=255)
    summed = [count.sum(dim=0, keepdim=True) for count in counts]
    macro = smp.metrics.iou_score(*summed, reduction="macro")
    torch.testing.assert_close(scores.mean_iou.float(), macro)


@pytest.mark.parametrize("predicted", [False, True])
def test_confusion__has_nan_for_a_class_without_a_true_pixel(predicted: bool) -> None:
    target = torch.tensor([0, 0, 1, 1])
    prediction = torch.tensor([0, 2 if predicted else 0, 1, 1])
    scores = _scores(prediction, target, 3)
    first = 0.5 if predicted else 1.0
    torch.testing.assert_close(scores.iou, torch.tensor([first, 1.0, NAN]).double(), equal_nan=True)
    assert scores.dice.isnan().tolist() == [False, False, True]
    assert scores.mean_iou.item() == (first + 1.0) / 2
    assert scores.pixel_accuracy.item() == (0.75 if predicted else 1.0)


def test_confusion__has_zero_for_a_class_that_was_never_found() -> None:
    scores = _scores(torch.tensor([0, 0]), torch.tensor([0, 1]), 2)
    assert scores.iou.tolist() == [0.5, 0.0]
    assert scores.mean_iou.item() == 0.25


def test_confusion__has_nan_for_nothing_but_ignored_pixels() -> None:
    scores = _scores(torch.tensor([0, 1]), torch.tensor([255, 255]), 2)
    assert scores.iou.isnan().all()
    assert scores.mean_iou.isnan()
    assert scores.pixel_accuracy.isnan()


def test_confusion__of_batches_is_that_of_the_split_until_reset() -> None:
    prediction, target = _split(4)
    metric = ConfusionMatrix(4)
    for i in range(6):
        metric.update(prediction[i], target[i])
    torch.testing.assert_close(SegmentationScores.of(metric.compute()), _scores(prediction, target, 4), rtol=0, atol=0)
    metric.reset()
    metric.update(prediction[:1], target[:1])
    first = _scores(prediction[:1], target[:1], 4)
    torch.testing.assert_close(SegmentationScores.of(metric.compute()), first, rtol=0, atol=0)


def test_confusion__never_asks_how_many_pixels_are_left() -> None:
    # Shapes that depend on values are what makes an accelerator wait; meta tensors cannot have any.
    metric = ConfusionMatrix(3).to("meta")
    metric.update(torch.empty(2, 4, 4, dtype=torch.int64, device="meta"), torch.empty(2, 4, 4, device="meta"))
    assert metric.counts.shape == (3, 3)


def _count_my_half(rank: int, rendezvous: str, answers: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    torch.manual_seed(0)
    prediction, target = _split(4)
    scores = _scores(prediction[rank::2], target[rank::2], 4)
    torch.save(tuple(scores), f"{answers}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_confusion__is_summed_over_processes(tmp_path: Path) -> None:
    spawn(_count_my_half, (str(tmp_path / "rendezvous"), str(tmp_path)), nprocs=2)  # type: ignore[no-untyped-call]
    torch.manual_seed(0)
    expected = tuple(_scores(*_split(4), 4))
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), expected)


def test_classification_scores__equal_a_hand_computation() -> None:
    scores = ClassificationScores.of(torch.tensor([[4, 1, 0], [2, 2, 0], [1, 0, 0]]))
    assert scores.precision.tolist() == pytest.approx([4 / 7, 2 / 3, NAN], nan_ok=True)
    assert scores.recall.tolist() == [4 / 5, 2 / 4, 0.0]
    assert scores.f1.tolist() == pytest.approx([8 / 12, 4 / 7, 0.0])
    assert scores.pictures.tolist() == [5, 4, 1]
    assert scores.mean_precision.item() == pytest.approx((4 / 7 + 2 / 3) / 2)
    assert scores.mean_recall.item() == pytest.approx((4 / 5 + 2 / 4) / 3)
    assert scores.mean_f1.item() == pytest.approx((8 / 12 + 4 / 7) / 3)
    assert scores.accuracy.item() == 6 / 10


def test_classification_scores__equal_torchmetrics() -> None:
    target = torch.randint(0, 5, (300,))
    prediction = torch.where(torch.rand(300) < 0.66, target, torch.randint(0, 5, (300,)))
    metric = ConfusionMatrix(5, ignore_index=-1)
    metric.update(prediction, target)
    scores = ClassificationScores.of(metric.compute())
    for ours, theirs in (
        (scores.precision, MulticlassPrecision(5, average="none")),
        (scores.recall, MulticlassRecall(5, average="none")),
        (scores.f1, MulticlassF1Score(5, average="none")),
        (scores.mean_f1, MulticlassF1Score(5, average="macro")),
        (scores.accuracy, MulticlassAccuracy(5, average="micro")),
    ):
        torch.testing.assert_close(ours.float(), theirs(prediction, target))


def test_classification_scores__have_nan_for_a_class_without_a_true_picture() -> None:
    scores = ClassificationScores.of(torch.tensor([[3, 1], [0, 0]]))
    assert scores.recall.isnan().tolist() == scores.f1.isnan().tolist() == [False, True]
    assert scores.precision.tolist() == [1.0, 0.0]
    assert scores.mean_f1.item() == scores.f1[0].item() == pytest.approx(6 / 7)


def test_confusion__counts_a_class_255_where_it_is_one() -> None:
    metric = ConfusionMatrix(300, ignore_index=-1)
    metric.update(torch.tensor([255, 299]), torch.tensor([255, 255]))
    assert metric.counts[255].nonzero().flatten().tolist() == [255, 299]


def test_confusion__of_many_classes_is_counted_in_place() -> None:
    metric = ConfusionMatrix(2000, ignore_index=-1)
    place = metric.counts.data_ptr()
    metric.update(torch.tensor([[3, 1999], [5, 7]]), torch.tensor([[3, 0], [-1, 7]]))
    assert metric.counts.data_ptr() == place
    assert metric.compute().nonzero().tolist() == [[0, 1999], [3, 3], [7, 7]]
    assert metric.compute().sum() == 3
