"""What every datamodule of labelled pictures shares, from the check of the files to what stays in memory."""

import csv
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, get_args

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from resvision.data.bad_images import OnBadImage, find_bad
from resvision.data.base import Split, VisionDataModule, tell
from resvision.data.classification import ChosenSource, ClassificationDataset, ClassificationSource
from resvision.data.duplicates import MOST_FILES, find_duplicates
from resvision.data.errors import DataError
from resvision.data.kept_source import KeptSource, keep_decoded, memory, shared_memory
from resvision.data.reading import PictureFile
from resvision.data.resident import CropAndFlip, ResidentDataset
from resvision.data.transforms import Augmentation, ClassificationTransform
from resvision.layers import check_choice

__all__ = ["ClassificationDataModule"]

#: The split that is compared with the training split where a stage needs it.
_COMPARED: Final[dict[str | None, Split]] = {"fit": "val", "test": "test"}


class ClassificationDataModule(VisionDataModule, ABC):
    """Loads labelled pictures of one size.

    Args:
        class_names: Names of the classes, in the order of their numbers.
        in_channels: 3 for RGB, 1 for grey.
        image_size: Height and width in pixels at which the model sees pictures.
        augmentation: A named strength, a list of albumentations' transforms, or `CropAndFlip` on the device.
        on_bad_image: `error` stops at a picture that cannot be read. `skip` reads all pictures once before training,
            leaves the bad ones out, and lists them in `skipped.csv` of the run.
        skip_budget: Part of a split's pictures that may be skipped, in 0..1, rounded up.
        keep_decoded: Part of the machine's memory, in 0..1, that the training and the validation split may take to stay
            decoded, so that no file is read twice; a larger split is read anew in each epoch.
        batch_size: Pictures in a batch, of each process.
        num_workers: Processes that load pictures; None takes none where the model itself runs on the CPU, and
            otherwise as many as there are CPU cores to spare, up to 8.
        seed: Seed of the order and of the augmentation.
        min_batches: Batches that an epoch of training has at least: a small split is gone through several times in it,
            each time in another order and with other augmentation.

    Attributes:
        whole_pictures: Whether pictures are resized as a whole, whatever their proportions; otherwise their middle is
            cut out.
    """

    whole_pictures: ClassVar[bool] = False

    def __init__(
        self,
        class_names: Sequence[str],
        in_channels: Literal[1, 3],
        *,
        image_size: int,
        augmentation: Augmentation | CropAndFlip,
        on_bad_image: OnBadImage,
        skip_budget: float,
        keep_decoded: float,
        batch_size: int,
        num_workers: int | None,
        seed: int,
        min_batches: int = 1,
    ) -> None:
        super().__init__(
            class_names,
            in_channels,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
            min_batches=min_batches,
        )
        check_choice("in_channels", in_channels, (1, 3))
        check_choice("on_bad_image", on_bad_image, get_args(OnBadImage))
        for name, part in (("skip_budget", skip_budget), ("keep_decoded", keep_decoded)):
            if not 0 <= part <= 1:
                raise ValueError(f"{name} is {part}; it is a part of 1")
        self.channels = in_channels
        self.image_size = image_size
        self.augmentation = augmentation
        self.transform = (
            None if isinstance(augmentation, CropAndFlip) else ClassificationTransform(augmentation, image_size)
        )
        self.on_bad_image = on_bad_image
        self.skip_budget = skip_budget
        self.keep_decoded = keep_decoded
        self._skipped: list[tuple[Split, str, str]] = []
        self._duplicates: list[list[tuple[Split, PictureFile]]] = []
        self._is_compared = False

    @abstractmethod
    def source(self, split: Split) -> ClassificationSource:
        """List the pictures of one split, with every check that needs no pixels."""

    def build(self, split: Split) -> ClassificationDataset:
        """List the pictures of one split, without the bad ones where these are to be skipped."""
        source = self.source(split)
        if self.on_bad_image == "skip":
            source = self._without_bad(split, source)
        transform = self.transform if split == "train" else None
        return ClassificationDataset(source, self.image_size, transform, seed=self.seed, whole=self.whole_pictures)

    def setup(self, stage: str | None = None) -> None:
        """Build the splits that the stage needs, compare them, and write what was found into the run's folder."""
        super().setup(stage)
        if stage in _COMPARED and not self._is_compared:
            self._is_compared = True
            self._compare(_COMPARED[stage])
        if stage == "fit" and self.trainer is not None:
            self._write_lists(Path(self.trainer.default_root_dir))

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the shuffled and augmented batches of the training split."""
        if isinstance(self.augmentation, CropAndFlip):
            self._move_to_device(self.augmentation)
        else:
            self._keep("train")
        return super().train_dataloader()

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation split in order, as it is."""
        self._keep("val")
        return super().val_dataloader()

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Crop and flip training pictures that are on the device already."""
        dataset = self._datasets.get("train")
        if isinstance(dataset, ResidentDataset) and "flipped" in batch:
            return dataset.crop(batch)
        return batch

    def _move_to_device(self, augmentation: CropAndFlip) -> None:
        pictures, device = self.dataset("train"), self._device()
        if isinstance(pictures, ClassificationDataset):
            # Half of what there is; not every system tells.
            most = (torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else memory()) // 2 or sys.maxsize
            self._datasets["train"] = ResidentDataset(pictures, augmentation, device=device, most_bytes=most)

    def _keep(self, split: Split) -> None:
        """Let a split stay in memory from now on, if it fits."""
        dataset = self.dataset(split)
        assert isinstance(dataset, ClassificationDataset)
        if isinstance(dataset.source, KeptSource) or not self.keep_decoded:
            return
        shared = self.workers() > 0
        budget = self._budget()
        for other in self._datasets.values():
            if isinstance(other, ClassificationDataset) and isinstance(other.source, KeptSource):
                budget -= other.source.nbytes
        most = min(budget, shared_memory()) if shared else budget
        dataset.source = keep_decoded(dataset.source, self.channels, most, shared=shared)

    def _budget(self) -> int:
        """Return the bytes of memory that this process may fill with pictures."""
        return int(memory() * self.keep_decoded) // (self.trainer.num_devices if self.trainer else 1)

    def _without_bad(self, split: Split, source: ClassificationSource) -> ClassificationSource:
        bad = find_bad(source, self.skip_budget)
        if not bad:
            return source
        good = [index for index in range(len(source)) if index not in bad]
        left = {label for index in good if isinstance(label := source.label(index), int)}
        for index, reason in bad.items():
            if isinstance(label := source.label(index), int) and label not in left:
                raise DataError(f"{reason}; without the bad pictures, {split} has none of this class")
        self._skipped += [(split, source.name(index), reason) for index, reason in bad.items()]
        tell(f"{split}: skipped {len(bad)} of {len(source)} pictures; the first: {next(iter(bad.values()))}")
        return ChosenSource(source, good)

    def _compare(self, split: Split) -> None:
        files: dict[Split, list[PictureFile]] = {}
        for part in ("train", split):
            built = self._datasets.get(part)
            try:
                source = (
                    built.source if isinstance(built, ClassificationDataset | ResidentDataset) else self.source(part)
                )
            except DataError as error:  # where a model is only tested, what it was trained on need not be
                tell(f"{split}: not compared with the pictures of {part}, which are not here: {error}")
                return
            files[part] = [file for index in range(len(source)) if (file := source.file(index)) is not None]
        if (count := sum(map(len, files.values()))) > MOST_FILES:
            tell(f"{split}: not compared with the pictures of train: {count} files, and up to {MOST_FILES} are")
            return
        self._duplicates = find_duplicates(files)
        if self._duplicates:
            first = " = ".join(str(file) for _, file in self._duplicates[0][:3])
            count = sum(part == split for group in self._duplicates for part, _ in group)
            tell(f"{split}: pictures that are in train too, so that its scores flatter: {count}; the first: {first}")

    @rank_zero_only
    def _write_lists(self, folder: Path) -> None:
        groups = enumerate(self._duplicates, 1)
        for name, header, rows in (
            ("skipped.csv", ("split", "picture", "reason"), [list(row) for row in self._skipped]),
            (
                "duplicates.csv",
                ("group", "split", "picture"),
                [[number, split, str(path)] for number, group in groups for split, path in group],
            ),
        ):
            if rows:
                with (folder / name).open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
                    csv.writer(file).writerows([header, *rows])
