from collections import Counter
from typing import Any

import pytest
import torch
from lightning.fabric.utilities.data import _set_sampler_epoch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from resvision.data.sampler import EpochSampler, SampleKey, Shards
from resvision.data.seeding import fold


def _indices(sampler: EpochSampler) -> list[int]:
    return [key.index for key in sampler]


def test_order__is_the_permutation_of_seed_and_epoch() -> None:
    sampler = EpochSampler(50, shuffle=True, seed=4)
    sampler.set_epoch(3)
    generator = torch.Generator().manual_seed(fold(4, "order", 3))
    expected = torch.randperm(50, generator=generator).tolist()
    assert list(sampler) == [SampleKey(3, index) for index in expected]


def test_order__changes_with_seed_and_epoch_and_not_with_passes_or_other_random_draws() -> None:
    sampler = EpochSampler(50, shuffle=True, seed=0)
    first = _indices(sampler)
    torch.rand(7)
    assert _indices(sampler) == first
    sampler.set_epoch(1)
    assert _indices(sampler) != first
    assert _indices(EpochSampler(50, shuffle=True, seed=1)) != first


def test_order__of_evaluation_is_that_of_the_files() -> None:
    assert _indices(EpochSampler(5, shuffle=False, seed=0)) == [0, 1, 2, 3, 4]


def test_start__skips_once_and_leaves_the_length() -> None:
    sampler = EpochSampler(10, shuffle=True, seed=0)
    whole = _indices(sampler)
    sampler.start = 4
    assert len(sampler) == 10
    assert _indices(sampler) == whole[4:]
    assert _indices(sampler) == whole


@pytest.mark.parametrize(("size", "world_size"), [(10, 3), (9, 3), (4, 4), (11, 2)])
def test_shards__of_training_are_equal_and_disjoint(size: int, world_size: int) -> None:
    shards = [
        _indices(EpochSampler(size, shuffle=True, seed=0, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert [len(shard) for shard in shards] == [size // world_size] * world_size
    assert max(Counter(index for shard in shards for index in shard).values()) == 1


@pytest.mark.parametrize(("size", "world_size"), [(10, 3), (9, 3), (2, 4), (1, 1)])
def test_shards__of_evaluation_hold_every_picture_exactly_once(size: int, world_size: int) -> None:
    samplers = [
        EpochSampler(size, shuffle=False, seed=0, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    assert sorted(index for sampler in samplers for index in _indices(sampler)) == list(range(size))
    assert [len(sampler) for sampler in samplers] == [len(_indices(sampler)) for sampler in samplers]


def test_start__counts_the_pictures_of_its_own_shard() -> None:
    sampler = EpochSampler(12, shuffle=True, seed=0, rank=1, world_size=2)
    whole = _indices(sampler)
    sampler.start = 2
    assert _indices(sampler) == whole[2:]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_passes__are_the_epochs_of_a_sampler_without_them_one_after_another(world_size: int) -> None:
    plain = EpochSampler(7, shuffle=True, seed=5)
    expected = [key for epoch in (4, 5) for key in plain.keys(epoch)]
    shards = []
    for rank in range(world_size):
        sampler = EpochSampler(7, shuffle=True, seed=5, rank=rank, world_size=world_size, passes=2)
        sampler.set_epoch(2)
        assert list(sampler) == sampler.keys(2) == expected[rank::world_size][: 14 // world_size]
        assert len(sampler) == 14 // world_size
        shards.append(sampler.keys(2))
    assert len({key for shard in shards for key in shard}) == 14 // world_size * world_size


def test_sampler__refuses_more_processes_than_training_pictures() -> None:
    with pytest.raises(ValueError, match="3 training pictures cannot be divided among 4 processes"):
        EpochSampler(3, shuffle=True, seed=0, world_size=4)


def test_lightning__sets_the_epoch_and_wraps_nothing() -> None:
    sampler = EpochSampler(8, shuffle=True, seed=0)
    loader: DataLoader[Any] = DataLoader(TensorDataset(torch.zeros(8)), batch_size=2, sampler=sampler)
    _set_sampler_epoch(loader, 5)
    assert sampler.epoch == 5
    assert isinstance(sampler, DistributedSampler)  # The class that Lightning leaves as it is.


SIZES = (7, 5, 9, 6, 8, 5, 7, 6, 5, 8)


def _shard_of(index: int) -> int:
    return next(number for number in range(len(SIZES)) if index < sum(SIZES[: number + 1]))


@pytest.mark.parametrize("mixed", [1, 3])
def test_order__of_shards_holds_each_picture_once_and_opens_few_at_a_time(mixed: int) -> None:
    sampler = EpochSampler(sum(SIZES), shuffle=True, seed=2, shards=Shards(SIZES, mixed))
    order = _indices(sampler)
    assert sorted(order) == list(range(sum(SIZES)))
    places = [[place for place, index in enumerate(order) if _shard_of(index) == shard] for shard in range(len(SIZES))]
    opened = [sum(min(of) <= place <= max(of) for of in places) for place in range(len(order))]
    # A picture moves back by at most `mixed` mean sizes, which is in reach of that many shards and the two at the ends.
    assert max(opened) <= mixed * 2 + 2
    assert any(order[place] > order[place + 1] + 1 for place in range(len(order) - 1))
    sampler.set_epoch(1)
    other = _indices(sampler)
    assert sorted(other) == sorted(order)
    assert other != order
    assert [_shard_of(index) for index in other[:3]] != [_shard_of(index) for index in order[:3]]


def test_order__of_shards_is_divided_and_resumed_like_any_other() -> None:
    whole = _indices(EpochSampler(sum(SIZES), shuffle=True, seed=2, shards=Shards(SIZES, 2)))
    for rank in range(2):
        sampler = EpochSampler(sum(SIZES), shuffle=True, seed=2, rank=rank, world_size=2, shards=Shards(SIZES, 2))
        mine = whole[rank::2]
        assert _indices(sampler) == mine
        sampler.start = 10
        assert _indices(sampler) == mine[10:]
