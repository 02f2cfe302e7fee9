"""Pictures whose labels stand in a table."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, final

import numpy as np

from resvision.data.annotation_files import inside
from resvision.data.bad_images import OnBadImage
from resvision.data.base import Split
from resvision.data.classification import FileSource, Label, check_fractions, divide
from resvision.data.classification_module import ClassificationDataModule
from resvision.data.errors import DataError
from resvision.data.given import given_as
from resvision.data.label_table import Columns, LabelTable, Row, read_table
from resvision.data.resident import CropAndFlip
from resvision.data.splits import SPLITS
from resvision.data.transforms import Augmentation

__all__ = ["Columns", "ImageCSV"]


@final
class ImageCSV(ClassificationDataModule):
    """Pictures to classify, listed in a CSV file with the class of each, or with any number of classes.

    The table has a column `path` and either `label`, or `labels` with classes divided by semicolons, for
    `MultiLabelTask`. Columns `split`, `group` and `weight` may be there. A split that no line names is held out of
    training, always with the whole of a group; training visits pictures in proportion to their weights.

    Every picture is cut to one size: in training as the augmentation says, otherwise to the middle of it.

    Args:
        root: Folder that the paths are relative to; none may lead out of it.
        file: The table, by its path from `root` on.
        columns: What the columns are called, where their names are others.
        class_names: Names of the classes in the order of their numbers; None takes those of the table, in the order of
            the alphabet, or of numbers where all are numbers.
        image_size: Height and width in pixels at which the model sees pictures.
        val_fraction: Part that is held out for validation where no line says `val`, in 0..1; always the same pictures,
            whatever the `seed`.
        test_fraction: Part that is held out for the test where no line says `test`; 0 has no test.
        in_channels: 3 for RGB, 1 for grey.
        augmentation: A named strength, a list of albumentations' transforms, or `CropAndFlip` on the device.
        on_bad_image: `error` stops at a picture that cannot be read. `skip` reads all pictures once before training,
            leaves the bad ones out, and lists them in `skipped.csv` of the run.
        skip_budget: Part of a split's pictures that may be skipped, in 0..1, rounded up.
        keep_decoded: Part of the machine's memory, in 0..1, that the training and the validation split may take to stay
            decoded, so that no file is read twice; a larger split is read anew in each epoch.
        min_batches: Batches that an epoch of training has at least: a small split is gone through several times in it,
            each time in another order and with other augmentation.
        batch_size: Pictures in a batch, of each process.
        num_workers: Processes that load pictures; None takes none where the model itself runs on the CPU, and
            otherwise as many as there are CPU cores to spare, up to 8.
        seed: Seed of the order and of the augmentation.
    """

    def __init__(
        self,
        root: str,
        *,
        file: str = "labels.csv",
        columns: Columns | None = None,
        class_names: list[str] | None = None,
        image_size: int = 224,
        val_fraction: float = 0.2,
        test_fraction: float = 0.0,
        in_channels: Literal[1, 3] = 3,
        augmentation: Augmentation | CropAndFlip = "light",
        on_bad_image: OnBadImage = "error",
        skip_budget: float = 0.05,
        keep_decoded: float = 0.1,
        min_batches: int = 1,
        batch_size: int = 32,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        _, self.file = inside(Path(root), file, "file")
        self._table = read_table(self.file, Path(root), given_as(Columns, "columns", columns) or Columns())
        names = _class_names(self.file, self._table, class_names)
        super().__init__(
            names,
            in_channels,
            image_size=image_size,
            augmentation=augmentation,
            on_bad_image=on_bad_image,
            skip_budget=skip_budget,
            keep_decoded=keep_decoded,
            min_batches=min_batches,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        check_fractions(val_fraction, test_fraction)
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self._parts = self._divide()

    def source(self, split: Split) -> FileSource:
        """List the pictures of one split."""
        rows = self._parts[split]
        if not rows:
            raise DataError(
                f"{self.file}: the data has no {split} split; name some of its pictures in the column of splits"
                + (", or set test_fraction, such as 0.1, before training" if split == "test" else "")
            )
        for row in rows:
            if self.on_bad_image == "error" and not row.path.is_file():
                raise DataError(f"{row.where}: there is no file {row.path}; paths are relative to root")
        weights = [row.weight for row in rows]
        if split == "train" and not any(weights):
            raise DataError(f"{self.file}: every training picture has weight 0; give some of them more")
        labels = _labels(rows, self.class_names, self._table.kind)
        even = len(set(weights)) == 1
        return FileSource([row.path for row in rows], labels, self.channels, None if even else weights)

    def _divide(self) -> dict[Split, list[Row]]:
        """Put every picture into a split, and all of a group into the same."""
        rows = self._table.rows
        parts: dict[Split, list[Row]] = {part: [row for row in rows if row.split == part] for part in SPLITS}
        free = [row for row in rows if row.split in (None, "train")]
        val, test = (0.0 if parts["val"] else self.val_fraction), (0.0 if parts["test"] else self.test_fraction)
        split_of = _hold_out(free, val, test, by_class=self._table.kind == "one")
        for part, fraction in (("train", 1.0), ("val", val), ("test", test)):
            if fraction and part not in split_of.values():
                raise DataError(
                    f"{self.file}: {len(set(map(_group, free)))} pictures or groups are too few to hold out {part}; "
                    "add pictures, or say in a column which split each belongs to"
                )
        parts["train"] = []
        for row in free:
            parts[split_of[_group(row)]].append(row)
        return parts


def _labels(rows: Sequence[Row], class_names: Sequence[str], kind: Literal["one", "many"]) -> list[Label]:
    number = {name: position for position, name in enumerate(class_names)}
    if kind == "one":
        return [number[row.labels[0]] for row in rows]
    shown = np.zeros((len(rows), len(class_names)), np.float32)
    for label, row in zip(shown, rows, strict=True):
        label[[number[name] for name in row.labels]] = 1
    return list(shown)


def _group(row: Row) -> str:
    return f"group {row.group}" if row.group is not None else f"picture {row.key}"


def _hold_out(rows: Sequence[Row], val: float, test: float, *, by_class: bool) -> dict[str, Split]:
    """Return the split of each group, by the names alone; what is alone in its class stays in training."""
    labels: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        labels[_group(row)].update(row.labels[:1] if by_class else ("",))
    of_class: defaultdict[str, list[str]] = defaultdict(list)
    for group, counts in labels.items():
        # A group of several classes counts to its most frequent one.
        of_class[min(counts, key=lambda name: (-counts[name], name))].append(group)
    split_of: dict[str, Split] = {}
    for groups in of_class.values():
        parts = divide(groups, val, test)
        for split, chosen in parts.items():
            split_of |= dict.fromkeys(chosen, split if parts["train"] else "train")
    return split_of


def _class_names(file: Path, table: LabelTable, names: list[str] | None) -> list[str]:
    found = table.class_names()
    if names is None:
        names = found
    known = set(names)
    if len(known) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"class_names holds {twice!r} twice")
    for row in table.rows:
        for label in row.labels:
            if label not in known:
                raise DataError(f"{row.where}: class {label!r} is not in class_names; mend the cell, or add the class")
    least = 2 if table.kind == "one" else 1
    if len(names) < least:
        there = f"the only class is {names[0]}" if names else "no picture has a class"
        raise DataError(f"{file}: {there}; a model tells {least} or more from each other")
    return names
