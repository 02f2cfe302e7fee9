"""Which place of a pyramid is to find which object.

No shape depends on what is in a tensor, so nothing waits for an accelerator.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from resvision.losses import box_iou

__all__ = ["Assigner", "Assignment", "Places", "Truth", "assign_atss", "assign_fcos", "ignored_places"]

#: Most pairs of a place and an object that are looked at in one go, to bound the memory.
_MOST_PAIRS: Final = 2**24
#: Candidates of each level (Zhang et al. 2019, section 4.4.1).
_CANDIDATES: Final = 9
#: Side of the square around a place, in strides (Zhang et al. 2019, section 4.4.2).
_SQUARE: Final = 8
#: Half the side of the middle part of an object whose places find it, in strides (Tian et al. 2020, arXiv:2006.09214).
_RADIUS: Final = 1.5
#: Distances to the furthest side that a level takes, in strides.
_RANGE: Final = (4, 8)


class Places(NamedTuple):
    """All places of a pyramid, level by level and row by row.

    Attributes:
        centers: (A, 2), x and y in pixels.
        strides: (A,), of their level.
        counts: Places of each level; they sum to A.
    """

    centers: Tensor
    strides: Tensor
    counts: tuple[int, ...]

    @staticmethod
    def of(levels: Sequence[Tensor], strides: Sequence[int]) -> "Places":
        """Return the places of levels (N, C, h, w).

        Padded kernels of odd size are centred on the pixels 0, `stride`, 2 `stride` and so on, and so are the places.
        """
        centers, sizes = [], []
        for level, stride in zip(levels, strides, strict=True):
            y, x = (torch.arange(side, device=level.device) * float(stride) for side in level.shape[-2:])
            centers.append(torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).flatten(0, 1))
            sizes.append(centers[-1].new_full((len(centers[-1]),), stride))
        return Places(torch.cat(centers), torch.cat(sizes), tuple(map(len, centers)))

    def boxes(self, distances: Tensor) -> Tensor:
        """Return boxes (..., A, 4), xyxy in pixels, by the distances of their sides in strides, (..., A, 4)."""
        pixels = distances * self.strides[:, None]
        return torch.cat([self.centers - pixels[..., :2], self.centers + pixels[..., 2:]], dim=-1)


class Truth(NamedTuple):
    """The objects of all pictures of a batch, one after the other.

    Attributes:
        boxes: (G, 4), xyxy in pixels, fp32.
        labels: (G,), classes from 0.
        picture: (G,), int64, in which picture of the batch each is.
        crowd: (G,), bool, whether it trains nothing: no place is to find it, nor to find that there is nothing.
    """

    boxes: Tensor
    labels: Tensor
    picture: Tensor
    crowd: Tensor


Assignment = Tensor
"""(N, A), int64: the object that each place of each picture is to find, as its row in `Truth`, or -1."""

Assigner = Callable[[Places, Truth, int], Assignment]
"""Takes places, objects, and the number of pictures N."""


def _inside(centers: Tensor, boxes: Tensor) -> Tensor:
    """Return whether points (..., 2) lie inside boxes (..., 4), not on their sides."""
    return ((centers > boxes[..., :2]) & (centers < boxes[..., 2:])).all(dim=-1)


def assign_atss(places: Places, truth: Truth, pictures: int) -> Assignment:
    """Assign by statistics of each object (ATSS; Zhang et al. 2019, arXiv:1912.02424, algorithm 1).

    Candidates are the nine places of each level that are nearest to an object's centre. Of those, the places inside the
    object find it whose square of 8 strides overlaps it by at least the mean plus the standard deviation of all
    candidates' overlaps. A place of several objects takes that which it overlaps most.

    Unlike in the paper, the candidate that overlaps an object most always overlaps it enough: where there are few of
    them, one or two levels say, all may lie below the mean plus the standard deviation.
    """
    middles = (truth.boxes[:, :2] + truth.boxes[:, 2:]) / 2
    candidates, start = [], 0
    for count in places.counts:
        centers = places.centers[start : start + count]
        parts = torch.split(middles, max(1, _MOST_PAIRS // count))
        candidates.append(start + torch.cat([_nearest(part, centers) for part in parts]))
        start += count
    chosen = torch.cat(candidates, dim=1)
    centers, reach = places.centers[chosen], places.strides[chosen, None] * (_SQUARE / 2)
    boxes = truth.boxes[:, None]
    overlap = box_iou(torch.cat([centers - reach, centers + reach], dim=-1), boxes)
    mean = overlap.mean(dim=1, keepdim=True)
    # A picture of one place has a single candidate, of which `std` would be nan.
    spread = ((overlap - mean).square().sum(dim=1, keepdim=True) / max(overlap.shape[1] - 1, 1)).sqrt()
    enough = torch.minimum(mean + spread, overlap.amax(dim=1, keepdim=True))
    finds = _inside(centers, boxes) & (overlap >= enough) & ~truth.crowd[:, None]

    total, none = pictures * len(places.centers), len(truth.boxes)
    target = truth.picture[:, None] * len(places.centers) + chosen
    offers = torch.where(finds, overlap, -1).flatten()
    most = offers.new_full((total,), -1).scatter_reduce(0, target.flatten(), offers, "amax")
    # Of several that overlap as much, the first.
    objects = torch.arange(none, device=chosen.device)[:, None]
    objects = torch.where(finds & (overlap == most[target]), objects, none).flatten()
    settled = objects.new_full((total,), none).scatter_reduce(0, target.flatten(), objects, "amin")
    return torch.where(settled == none, -1, settled).view(pictures, -1)


def _nearest(middles: Tensor, centers: Tensor) -> Tensor:
    distance = (middles[:, None] - centers).square().sum(dim=-1)
    return distance.topk(min(_CANDIDATES, len(centers)), dim=1, largest=False).indices


def assign_fcos(places: Places, truth: Truth, pictures: int) -> Assignment:
    """Assign by the middle and the size of each object (FCOS; Tian et al. 2020, arXiv:2006.09214, section 3).

    A place finds an object if it lies inside, less than 1.5 strides from the centre in x and in y, and if the furthest
    side is 4 to 8 strides away; nearer at the finest level and further at the coarsest. A place of several objects
    takes the smallest.
    """
    lower, upper = (places.strides * factor for factor in _RANGE)
    lower[: places.counts[0]] = 0
    upper[len(upper) - places.counts[-1] :] = math.inf
    # From the smallest to the largest; of several as small, the first.
    order = (truth.boxes[:, 2:] - truth.boxes[:, :2]).prod(dim=1).argsort(stable=True)
    none = len(order)
    settled = order.new_full((pictures, len(places.centers)), none)
    for start, rows in _parts(order, len(places.centers)):
        boxes = truth.boxes[rows, None]
        middles = (boxes[..., :2] + boxes[..., 2:]) / 2
        near = (places.centers - middles).abs().amax(dim=-1) < _RADIUS * places.strides
        furthest = torch.maximum(places.centers - boxes[..., :2], boxes[..., 2:] - places.centers).amax(dim=-1)
        finds = near & _inside(places.centers, boxes) & (furthest > lower) & (furthest < upper)
        finds &= ~truth.crowd[rows, None]
        ranks = torch.arange(start, start + len(rows), device=rows.device)[:, None]
        offers = torch.where(finds, ranks, none)
        settled = settled.scatter_reduce(0, truth.picture[rows, None].expand_as(offers), offers, "amin")
    return F.pad(order, (0, 1), value=-1)[settled]


def ignored_places(places: Places, truth: Truth, pictures: int) -> Tensor:
    """Return the places inside boxes of crowds, (N, A), bool."""
    result = truth.picture.new_zeros((pictures, len(places.centers)), dtype=torch.int32)
    for _, rows in _parts(torch.arange(len(truth.boxes), device=truth.boxes.device), len(places.centers)):
        inside = (_inside(places.centers, truth.boxes[rows, None]) & truth.crowd[rows, None]).int()
        result = result.scatter_reduce(0, truth.picture[rows, None].expand_as(inside), inside, "amax")
    return result.bool()


def _parts(rows: Tensor, places: int) -> Iterator[tuple[int, Tensor]]:
    """Yield rows of objects, each time as many as can be looked at in one go, and where they begin."""
    step = max(1, _MOST_PAIRS // places)
    for start in range(0, len(rows), step):
        yield start, rows[start : start + step]
