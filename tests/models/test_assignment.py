"""Both ways of assignment against slow ones, written from the papers place by place."""

import math

import pytest
import torch
from torch import Tensor

from resvision.models import assignment
from resvision.models.assignment import Places, Truth, assign_atss, assign_fcos, ignored_places

STRIDES = (8, 16, 32)


def _places(height: int = 96, width: int = 128) -> Places:
    return Places.of([torch.zeros(1, 1, height // stride, width // stride) for stride in STRIDES], STRIDES)


def _truth(pictures: int = 3, count: int = 12) -> Truth:
    """Objects of all sizes, many of which overlap; the second picture has none."""
    corners = torch.rand(count, 2) * torch.tensor([90.0, 60.0])
    sizes = torch.exp(torch.rand(count, 2) * 3.0 + 1.0)
    picture = torch.tensor([0, 2] * (count // 2)).sort().values
    assert pictures == 3
    boxes = torch.cat([corners, corners + sizes], dim=1)
    return Truth(boxes, torch.randint(3, (count,)), picture, torch.zeros(count, dtype=torch.bool))


def _alone(boxes: Tensor) -> Truth:
    """Objects of a single picture and class."""
    zeros = torch.zeros(len(boxes), dtype=torch.int64)
    return Truth(boxes, zeros, zeros, zeros.bool())


def _overlap(a: list[float], b: list[float]) -> float:
    sides = [min(a[axis + 2], b[axis + 2]) - max(a[axis], b[axis]) for axis in (0, 1)]
    common = max(sides[0], 0) * max(sides[1], 0)
    area = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return common / (area[0] + area[1] - common)


def _levels(places: Places) -> list[list[int]]:
    rows, start = [], 0
    for count in places.counts:
        rows.append(list(range(start, start + count)))
        start += count
    return rows


def _slow_atss(places: Places, boxes: list[list[float]]) -> list[int]:
    """Zhang et al. 2019, algorithm 1, for one picture."""
    centers = places.centers.tolist()
    best: dict[int, tuple[float, int]] = {}
    for number, box in enumerate(boxes):
        middle = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]
        candidates = []
        for level in _levels(places):
            candidates += sorted(level, key=lambda row: math.dist(centers[row], middle))[:9]
        overlaps = []
        for row in candidates:
            (x, y), reach = centers[row], 4 * places.strides[row].item()
            overlaps.append(_overlap([x - reach, y - reach, x + reach, y + reach], box))
        mean = sum(overlaps) / len(overlaps)
        threshold = mean + math.sqrt(sum((o - mean) ** 2 for o in overlaps) / (len(overlaps) - 1))
        for row, overlap in zip(candidates, overlaps, strict=True):
            x, y = centers[row]
            is_inside = box[0] < x < box[2] and box[1] < y < box[3]
            if overlap >= threshold and is_inside and overlap > best.get(row, (-1.0, 0))[0]:
                best[row] = (overlap, number)
    return [best[row][1] if row in best else -1 for row in range(len(centers))]


def _slow_fcos(places: Places, boxes: list[list[float]]) -> list[int]:
    """Tian et al. 2020, section 3, for one picture."""
    levels = _levels(places)
    result = []
    for row, (x, y) in enumerate(places.centers.tolist()):
        stride = places.strides[row].item()
        low = 0 if row in levels[0] else 4 * stride
        high = math.inf if row in levels[-1] else 8 * stride
        found = []
        for number, box in enumerate(boxes):
            sides = (x - box[0], y - box[1], box[2] - x, box[3] - y)
            from_middle = max(abs(x - (box[0] + box[2]) / 2), abs(y - (box[1] + box[3]) / 2))
            if min(sides) > 0 and low < max(sides) < high and from_middle < 1.5 * stride:
                found.append(((box[2] - box[0]) * (box[3] - box[1]), number))
        result.append(min(found)[1] if found else -1)
    return result


def _picture(truth: Truth, picture: int) -> tuple[list[list[float]], list[int]]:
    rows = (truth.picture == picture).nonzero().flatten().tolist()
    return truth.boxes[rows].tolist(), rows


@pytest.mark.parametrize(("assign", "slow"), [(assign_atss, _slow_atss), (assign_fcos, _slow_fcos)])
@pytest.mark.parametrize("chunk", [2**24, 100])
def test_assign__equals_the_papers_rules(
    assign: assignment.Assigner, slow: object, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignment, "_MOST_PAIRS", chunk)
    assert callable(slow)
    places, truth = _places(), _truth()
    found = assign(places, truth, 3)
    assert found.shape == (3, len(places.centers))
    for picture in range(3):
        boxes, rows = _picture(truth, picture)
        expected = [rows[number] if number >= 0 else -1 for number in slow(places, boxes)]
        assert found[picture].tolist() == expected
    assert (found[0] >= 0).sum() > 5
    assert (found[1] == -1).all()


@pytest.mark.parametrize("assign", [assign_atss, assign_fcos])
@pytest.mark.parametrize(
    "boxes",
    [
        torch.zeros(0, 4),
        torch.tensor([[7.5, 7.5, 8.5, 8.5]]),
        torch.tensor([[8.0, 8.0, 8.0, 8.0]]),
        torch.full((1, 4), torch.nan),
        torch.tensor([[9.0, 9.0, 10.0, 10.0]]),
    ],
    ids=["none", "one pixel", "no size", "nan", "between places"],
)
def test_assign__stands_boxes_of_every_kind(assign: assignment.Assigner, boxes: Tensor) -> None:
    found = assign(_places(), _alone(boxes), 1)
    assert (found >= 0).sum().item() == (1 if len(boxes) and boxes[0, 0] == 7.5 else 0)


def test_atss__gives_an_object_a_place_in_a_picture_of_one_place() -> None:
    places = Places.of([torch.zeros(1, 1, 1, 1)], [8])
    truth = _alone(torch.tensor([[-9.0, -9.0, 9.0, 9.0]]))
    assert assign_atss(places, truth, 1).tolist() == [[0]]


@pytest.mark.parametrize("strides", [(8,), (8, 16)])
@pytest.mark.parametrize("side", [9.0, 12.0, 20.0, 40.0])
def test_atss__gives_every_object_a_place_with_few_levels(strides: tuple[int, ...], side: float) -> None:
    places = Places.of([torch.zeros(1, 1, 64 // stride, 64 // stride) for stride in strides], strides)
    # Squares of 64 pixels hold the small ones whole, so that all of a level overlap them alike.
    boxes = torch.tensor([[10.0, 11.0, 10 + side, 11 + side]])
    found = assign_atss(places, _alone(boxes), 1)[0] >= 0
    assert found.any()
    centers = places.centers[found]
    assert ((centers > boxes[0, :2]) & (centers < boxes[0, 2:])).all()


def test_places__lie_where_the_kernels_are_centred() -> None:
    places = Places.of([torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 1, 2)], [8, 16])
    assert places.centers.tolist() == [[0, 0], [8, 0], [16, 0], [0, 8], [8, 8], [16, 8], [0, 0], [16, 0]]
    assert places.strides.tolist() == [8] * 6 + [16] * 2
    assert places.counts == (6, 2)
    boxes = places.boxes(torch.tensor([0.0, 0.5, 1.0, 2.0]).expand(8, 4))
    assert boxes[4].tolist() == [8, 4, 16, 24]
    assert boxes[7].tolist() == [16, -8, 32, 32]


@pytest.mark.parametrize("chunk", [2**24, 10])
def test_ignored_places__are_those_inside_of_crowds(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assignment, "_MOST_PAIRS", chunk)
    places = _places(16, 16)
    boxes = torch.tensor([[-1.0, -1.0, 4.0, 4.0], [-1.0, -1.0, 9.0, 9.0], [7.0, 7.0, 9.0, 9.0]])
    crowd = torch.tensor([True, False, True])
    truth = Truth(boxes, torch.zeros(3).long(), torch.tensor([1, 1, 0]), crowd)
    found = ignored_places(places, truth, 2)
    assert found.nonzero().tolist() == [[0, 3], [1, 0], [1, 4]]


@pytest.mark.parametrize("assign", [assign_atss, assign_fcos])
@pytest.mark.parametrize("chunk", [2**24, 100])
def test_assign__gives_crowds_no_place_and_takes_none_from_others(
    assign: assignment.Assigner, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignment, "_MOST_PAIRS", chunk)
    places, truth = _places(), _truth()
    others = torch.arange(1, 12, 2)
    alone = assign(places, Truth(*(part[others] for part in truth)), 3)
    crowd = torch.ones(12, dtype=torch.bool).index_fill(0, others, False)
    found = assign(places, truth._replace(crowd=crowd), 3)
    assert (alone >= 0).any()
    assert torch.equal(found, torch.where(alone >= 0, others[alone], -1))
