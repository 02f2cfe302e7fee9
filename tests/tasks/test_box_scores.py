"""Average precision by hand and against COCO's rules; the confusion matrix by hand."""

import math

import pytest
import torch
from torch import Tensor

from resvision.tasks import box_scores
from resvision.tasks.box_scores import AveragePrecision, BoxConfusion, BoxScores


def _found(rows: list[tuple[float, float, float, float, float, int]]) -> dict[str, Tensor]:
    table = torch.tensor([row[:5] for row in rows]).reshape(-1, 5)
    labels = torch.tensor([row[5] for row in rows], dtype=torch.int64)
    return {"boxes": table[:, :4], "scores": table[:, 4], "labels": labels}


def _truth(rows: list[tuple[float, float, float, float, int]], crowd: tuple[int, ...] = ()) -> dict[str, Tensor]:
    boxes = torch.tensor([row[:4] for row in rows]).reshape(-1, 4)
    return {
        "boxes": boxes,
        "labels": torch.tensor([row[4] for row in rows], dtype=torch.int64),
        "iscrowd": torch.tensor([int(number in crowd) for number in range(len(rows))], dtype=torch.int64),
        "area": (boxes[:, 2:] - boxes[:, :2]).prod(dim=1),
    }


def _scores(found: list[dict[str, Tensor]], truth: list[dict[str, Tensor]], num_classes: int = 3) -> BoxScores:
    metric = AveragePrecision(num_classes)
    metric.update(found, truth, torch.arange(len(found)))
    scores: BoxScores = metric.compute()
    return scores


def test_scores__of_boxes_found_and_missed() -> None:
    truth = [_truth([(0, 0, 20, 20, 0), (30, 30, 80, 80, 0), (0, 50, 100, 150, 2)])]
    # Class 0: one of two objects, surest first; class 2: overlap 0.62, so found at 0.5, 0.55 and 0.6 of ten overlaps.
    found = [_found([(0, 0, 20, 20, 0.9, 0), (0, 50, 62, 150, 0.8, 2)])]
    scores = _scores(found, truth)
    half = 51 / 101  # precision 1 at the recalls 0, 0.01, ..., 0.5
    assert scores.ap[0] == pytest.approx(half)
    assert math.isnan(scores.ap[1])
    assert scores.ap[2] == pytest.approx(0.3)
    assert scores.ap_50 == pytest.approx([half, math.nan, 1.0], nan_ok=True)
    assert scores.overall["map"] == pytest.approx((half + 0.3) / 2)
    assert scores.overall["map_50"] == pytest.approx((half + 1) / 2)
    assert scores.overall["map_75"] == pytest.approx(half / 2)
    assert scores.overall["map_small"] == pytest.approx(1.0)
    assert scores.overall["map_medium"] == 0
    assert scores.overall["map_large"] == pytest.approx(0.3)


@pytest.mark.parametrize(("most", "counted"), [(100, 100), (130, 130), (500, 130)])
def test_scores__count_so_many_boxes_of_a_picture(most: int, counted: int) -> None:
    corners = [(20 * (number % 13), 20 * (number // 13)) for number in range(130)]
    metric = AveragePrecision(1, max_detections=most)
    truth = _truth([(x, y, x + 10, y + 10, 0) for x, y in corners])
    metric.update([_found([(x, y, x + 10, y + 10, 0.9, 0) for x, y in corners])], [truth], torch.tensor([0]))
    scores = metric.compute()
    assert scores.overall["recall"] == pytest.approx(counted / 130)
    assert scores.ap_50[0] == pytest.approx((100 * counted // 130 + 1) / 101)  # at the recalls 0, 0.01, ...


def test_scores__of_many_classes_are_counted_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    found, truth = [], []
    for _ in range(12):
        corners = 80 * torch.rand(20, 2, generator=generator)
        boxes = torch.cat([corners, corners + 5 + 40 * torch.rand(20, 2, generator=generator)], 1)
        labels = torch.randint(7, (20,), generator=generator)
        crowd = torch.zeros(20, dtype=torch.int64)
        truth.append({"boxes": boxes, "labels": labels, "iscrowd": crowd, "area": torch.zeros(20)})
        said = boxes + 4 * torch.randn(20, 4, generator=generator)
        found.append({"boxes": said, "scores": torch.rand(20, generator=generator), "labels": labels.roll(3)})
        found[-1]["labels"][:12] = labels[:12]
    expected = _scores(found, truth, num_classes=8)
    assert 0.05 < expected.overall["map"] < 0.9
    assert sum(map(math.isnan, expected.ap)) == 1
    monkeypatch.setattr(box_scores, "_MOST_CELLS", 3 * 12)
    parts = _scores(found, truth, num_classes=8)
    assert parts.overall == pytest.approx(expected.overall, rel=0, abs=0, nan_ok=True)
    assert parts.ap == pytest.approx(expected.ap, rel=0, abs=0, nan_ok=True)
    assert parts.ap_50 == pytest.approx(expected.ap_50, rel=0, abs=0, nan_ok=True)


def test_scores__count_no_crowd_and_no_picture_twice() -> None:
    truth = [_truth([(0, 0, 50, 50, 0), (0, 0, 100, 100, 0)], crowd=(1,)), _truth([])]
    found = [_found([(0, 0, 50, 50, 0.9, 0), (60, 60, 90, 90, 0.95, 0)]), _found([])]
    assert _scores(found, truth).overall["map"] == pytest.approx(1.0)
    found[1] = _found([(60, 60, 90, 90, 0.99, 0)])
    assert _scores(found, truth).overall["map"] == pytest.approx(0.5)


def test_scores__of_nothing_are_nan() -> None:
    scores = _scores([_found([])], [_truth([])])
    assert all(math.isnan(value) for value in (*scores.overall.values(), *scores.ap, *scores.ap_50))


def test_confusion__pairs_boxes_by_overlap() -> None:
    truth = _truth([(0, 0, 10, 10, 0), (20, 0, 30, 10, 1), (50, 0, 60, 10, 1), (100, 100, 200, 200, 0)], crowd=(3,))
    found = _found(
        [
            (0, 0, 10, 9, 0.9, 1),  # the first object, of another class
            (0, 0, 10, 7, 0.95, 0),  # overlaps it less: invented
            (20, 0, 30, 10, 0.8, 1),  # right
            (50, 0, 60, 10, 0.2, 1),  # not sure enough: its object is missed
            (110, 110, 150, 150, 0.9, 2),  # lies in a crowd
            (300, 300, 310, 310, 0.9, 2),  # invented
        ]
    )
    matrix = BoxConfusion(3)
    matrix.update([found, _found([])], [truth, _truth([(0, 0, 5, 5, 2)])])
    assert matrix.compute().tolist() == [[0, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1], [1, 0, 1, 0]]
