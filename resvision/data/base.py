"""What every datamodule shares: splits, loaders and their speed."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.data import suggested_max_num_workers
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from resvision.batch import LabelKind
from resvision.data.sampler import EpochSampler, SampleKey, Shards
from resvision.data.splits import Split
from resvision.data.worker import prepare_worker

__all__ = ["Split", "VisionDataModule", "VisionDataset", "stack_images", "tell"]

_LOG = logging.getLogger(__name__)

_SPLITS_OF_STAGE: dict[str | None, tuple[Split, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": (),
    None: ("train", "val", "test"),
}


class VisionDataset(Dataset[Any], ABC):
    """Pictures of one split with their labels, found by index.

    Attributes:
        uniform_size: Whether all pictures have one height and width, so that they can be batched as they are.
        needs_workers: Whether a sample takes so long that other processes are to prepare it.
        weights: How often each picture is visited in training, in proportion to the others; None visits each once.
        shards: Which pictures lie together in files; None where each has its own.
    """

    uniform_size: bool
    needs_workers: bool = True
    weights: Sequence[float] | None = None
    shards: Shards | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of pictures."""

    @abstractmethod
    def __getitem__(self, key: SampleKey | int) -> Any:
        """Return one sample, a pure function of the key; a bare index means epoch 0."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Return what a person knows the picture by, such as its path."""

    @staticmethod
    @abstractmethod
    def collate(samples: Sequence[Any]) -> Any:
        """Put samples together into a batch."""


class VisionDataModule(LightningDataModule, ABC):
    """Loads the splits of a data set in batches of raw pixels.

    Training visits its pictures in a new order each epoch and leaves out the last, incomplete batch unless it
    is the only one. Evaluation keeps the order; where the pictures of a split differ in size it takes them
    one by one.

    Args:
        class_names: Names of the classes, in the order of their numbers.
        in_channels: Number of channels of a picture.
        batch_size: Pictures in a batch, of each process.
        num_workers: Processes that load pictures; None takes none where the model itself runs on the CPU, and
            otherwise as many as there are CPU cores to spare, up to 8.
        seed: Seed of the order and of the augmentation.
        min_batches: Batches that an epoch of training has at least: a small split is gone through several times in it,
            each time in another order and with other augmentation.

    Attributes:
        class_names_by_kind: Where there are several kinds of labels, the names of each; `class_names` are all of them.
    """

    class_names: tuple[str, ...]
    in_channels: int
    class_names_by_kind: Mapping[LabelKind, tuple[str, ...]] | None = None

    def __init__(
        self,
        class_names: Sequence[str],
        in_channels: int,
        *,
        batch_size: int,
        num_workers: int | None,
        seed: int,
        min_batches: int = 1,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        if num_workers is not None and num_workers < 0:
            raise ValueError(f"num_workers is {num_workers}; use 0 for none, or leave it out for a number that fits")
        if min_batches < 1:
            raise ValueError(f"min_batches is {min_batches}; it must be at least 1")
        self.class_names = tuple(class_names)
        self.in_channels = in_channels
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.min_batches = min_batches
        self._datasets: dict[Split, VisionDataset] = {}
        self._resume: tuple[int, int] | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @abstractmethod
    def build(self, split: Split) -> VisionDataset:
        """Build the dataset of one split, with every check that can be made before training."""

    def dataset(self, split: Split) -> VisionDataset:
        """Return the dataset of one split; it is built at the first call."""
        if split not in self._datasets:
            self._datasets[split] = self.build(split)
        return self._datasets[split]

    def setup(self, stage: str | None = None) -> None:
        """Build, and so check, every split that the stage needs: to predict, none."""
        for split in _SPLITS_OF_STAGE[stage]:
            self.dataset(split)

    def resume_at(self, epoch: int, batch: int) -> None:
        """Let the next training loader begin within an epoch.

        A run that is resumed calls this before Lightning asks for the loader: with worker processes, the
        first batches are already being read when Lightning tells the sampler the epoch.

        Args:
            epoch: Epoch to begin in, from 0.
            batch: Batches of that epoch that are done.
        """
        self._resume = (epoch, batch)

    def batch_after(self, pictures: int) -> int:
        """Return the batch of a training epoch to go on with, from 0, after batches of another size.

        Args:
            pictures: Pictures of the epoch that are done, of each process.

        Returns:
            The last batch that leaves none of the others out: up to a batch of pictures comes a second time.
        """
        last = max(len(self._sampler("train")) // self.batch_size, 1) - 1
        return min(pictures // self.batch_size, last)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the shuffled and augmented batches of the training split.

        Without a `Trainer` begin each epoch with `loader.sampler.set_epoch(epoch)`, as with `DistributedSampler`: order
        and augmentation depend on it.
        """
        loader = self._loader("train")
        if self._resume is not None:
            epoch, batch = self._resume
            assert isinstance(loader.sampler, EpochSampler)
            loader.sampler.set_epoch(epoch)
            loader.sampler.start = batch * self.batch_size
            self._resume = None
        return loader

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation split in order, as it is."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test split in order, as it is."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Refuse: which pictures are meant, only who calls knows.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "this data has no pictures to predict; give trainer.predict a loader, such as data.test_dataloader(), or "
            "the pictures to what resvision.load returns"
        )

    def workers(self) -> int:
        """Return the number of processes that load pictures beside this one."""
        if self.num_workers is not None:
            return self.num_workers
        if self._device().type == "cpu":
            return 0
        return min(8, suggested_max_num_workers(self.trainer.num_devices if self.trainer else 1))

    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def visited(self, epoch: int, batch: int) -> list[SampleKey]:
        """Return what this process visits in a batch of training, both counted from 0."""
        start = batch * self.batch_size
        return self._sampler("train").keys(epoch)[start : start + self.batch_size]

    def _sampler(self, split: Split) -> EpochSampler:
        dataset, trainer = self.dataset(split), self.trainer
        training = split == "train"
        world_size = trainer.world_size if trainer else 1
        if not training and len(dataset) < world_size:
            raise ValueError(
                f"{split} has {len(dataset)} pictures for {world_size} processes, and each needs one; use fewer devices"
            )
        return EpochSampler(
            len(dataset),
            shuffle=training,
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=world_size,
            weights=dataset.weights if training else None,
            shards=dataset.shards,
            # An epoch of one batch has that batch even if it is not full.
            passes=ceil(self.min_batches * self.batch_size * world_size / len(dataset)) if self.min_batches > 1 else 1,
        )

    def _loader(self, split: Split) -> DataLoader[Any]:
        dataset, sampler = self.dataset(split), self._sampler(split)
        training = split == "train"
        batch_size = self.batch_size if training or dataset.uniform_size else 1
        workers = self.workers() if dataset.needs_workers else 0
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            drop_last=training and len(sampler) > batch_size,
            num_workers=workers,
            collate_fn=dataset.collate,
            pin_memory=self._device().type == "cuda",
            persistent_workers=workers > 0,
            prefetch_factor=4 if workers else None,
            worker_init_fn=prepare_worker,
        )


def stack_images(images: Sequence[NDArray[Any]]) -> Tensor:
    """Put pictures (H, W, C) of one size, uint8 or uint16, together to (N, C, H, W), channels last in memory."""
    if len({image.dtype for image in images}) > 1:
        # 65535 / 255 = 257, so that a pixel of 8 bits keeps its brightness among those of 16.
        images = [image * np.uint16(257) if image.dtype == np.uint8 else image for image in images]
    # Stacked channels last, as the files are, and only seen as (N, C, H, W): no pixel is moved for it.
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


@rank_zero_only
def tell(line: str) -> None:
    """Say once, whatever the number of processes, what a person should know of the data."""
    _LOG.warning(line)
