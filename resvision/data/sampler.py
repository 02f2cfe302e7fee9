"""The order in which pictures are visited."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice

import torch
from torch.utils.data import DistributedSampler

from resvision.data.seeding import fold

__all__ = ["EpochSampler", "SampleKey", "Shards"]


@dataclass(frozen=True, slots=True)
class SampleKey:
    """What a dataset is asked for: a picture in an epoch, so that its augmentation can follow from both.

    Attributes:
        epoch: How often all pictures were visited before; that is the epoch's number unless one has several passes.
        index: Number of the picture.
    """

    epoch: int
    index: int


@dataclass(frozen=True)
class Shards:
    """Pictures that lie together in files, which are expensive to open.

    Attributes:
        sizes: Number of pictures in each, in the order of the pictures.
        mixed: About how many of them are mixed with each other.
    """

    sizes: tuple[int, ...]
    mixed: int

    def order(self, generator: torch.Generator) -> list[int]:
        """Return all pictures in a random order that goes from shard to shard.

        The shards are shuffled; then each picture moves back by a random distance, at most as far as `mixed` shards are
        long. So those that are open at a time are few, and a new one comes in gradually.
        """
        size = sum(self.sizes)
        ends = list(accumulate(self.sizes))
        numbers = torch.randperm(len(ends), generator=generator).tolist()
        shuffled = [torch.arange(ends[number] - self.sizes[number], ends[number]) for number in numbers]
        distance = self.mixed * size / len(ends)
        places = torch.arange(size) + distance * torch.rand(size, generator=generator, dtype=torch.float64)
        order: list[int] = torch.cat(shuffled)[places.argsort()].tolist()
        return order


class EpochSampler(DistributedSampler[SampleKey]):
    """Visits pictures in an order that is a pure function of the seed and the epoch.

    It is a `DistributedSampler` because Lightning wraps every other sampler in one of its own, which would
    divide the pictures among the processes a second time. Lightning calls `set_epoch` on it before each
    epoch.

    Args:
        size: Number of pictures in the split.
        shuffle: Whether to train: a new order each epoch, and the same number of pictures for every process,
            so that up to `world_size - 1` are left out of an epoch. Otherwise the pictures keep their order
            and each belongs to exactly one process, without padding.
        seed: Seed of the order.
        rank: Number of this process, from 0.
        world_size: Number of processes.
        weights: How often each picture is visited in training, in proportion to the others, at least 0; an epoch has
            as many pictures as before, drawn with replacement. None visits each once.
        shards: Which pictures lie together in files, to train shard by shard; not together with weights.
        passes: How often an epoch of training goes through the pictures, each time in another order.

    Attributes:
        start: Number of this process's pictures that the next pass skips, to resume within an epoch. It
            counts once: the pass after that is whole. The length stays that of a whole pass, as Lightning
            counts batches by it.

    Raises:
        ValueError: Training with fewer pictures than processes.
    """

    def __init__(
        self,
        size: int,
        *,
        shuffle: bool,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        weights: Sequence[float] | None = None,
        shards: Shards | None = None,
        passes: int = 1,
    ) -> None:
        if shuffle and size < world_size:
            raise ValueError(
                f"{size} training pictures cannot be divided among {world_size} processes; use fewer devices"
            )
        indices = torch.arange(size)
        super().__init__(
            indices,  # type: ignore[arg-type]  # only its length is read
            num_replicas=world_size,
            rank=rank,
            shuffle=shuffle,
            seed=seed,
        )
        self.size = size
        self.start = 0
        self.weights = None if weights is None else torch.tensor(weights, dtype=torch.float64)
        self.shards = shards
        self.passes = passes

    def set_epoch(self, epoch: int) -> None:
        """Begin another epoch; what was to be skipped belonged to the one before."""
        if epoch != self.epoch:
            self.start = 0
        super().set_epoch(epoch)

    def __len__(self) -> int:
        if self.shuffle:
            return self.size * self.passes // self.num_replicas
        return len(range(self.rank, self.size, self.num_replicas))

    def __iter__(self) -> Iterator[SampleKey]:
        keys = self.keys(self.epoch)[self.start :]
        self.start = 0
        return iter(keys)

    def keys(self, epoch: int) -> list[SampleKey]:
        """Return what this process visits in a whole epoch, in its order."""
        numbers = range(epoch * self.passes, (epoch + 1) * self.passes) if self.shuffle else [epoch]
        visits = ((number, index) for number in numbers for index in self._order(number))
        mine = islice(visits, self.rank, None, self.num_replicas)
        return [SampleKey(number, index) for number, index in islice(mine, len(self))]

    def _order(self, number: int) -> Sequence[int]:
        """Return the order of the pictures in a pass through all of them."""
        if not self.shuffle:
            return range(self.size)
        generator = torch.Generator().manual_seed(fold(self.seed, "order", number))
        if self.shards is not None:
            return self.shards.order(generator)
        if self.weights is None:
            order: list[int] = torch.randperm(self.size, generator=generator).tolist()
            return order
        # Where a number falls among the sums; `torch.multinomial` takes no more than 2^24 pictures.
        sums = self.weights.cumsum(0)
        draws = torch.rand(self.size, generator=generator, dtype=torch.float64) * sums[-1]
        drawn: list[int] = torch.searchsorted(sums, draws, right=True).clamp(max=self.size - 1).tolist()
        return drawn
