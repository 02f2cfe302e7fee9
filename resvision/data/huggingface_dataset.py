"""Data sets in the formats of Hugging Face's library `datasets`."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from resvision.data.bad_images import OnBadImage
from resvision.data.base import Split
from resvision.data.classification import ChosenSource, ClassificationSource, Label, check_fractions, divide
from resvision.data.classification_module import ClassificationDataModule
from resvision.data.errors import DataError
from resvision.data.jpeg import Picture
from resvision.data.reading import EncodedPicture, PictureFile, open_image, read_image
from resvision.data.resident import CropAndFlip
from resvision.data.splits import split_named
from resvision.data.transforms import Augmentation

__all__ = ["HuggingFaceDataset"]

_SAVED: Final = ("dataset_dict.json", "dataset_info.json")


@final
class HuggingFaceDataset(ClassificationDataModule):
    """Pictures to classify, loaded by Hugging Face's library `datasets`: `pip install "resvision[huggingface]"`.

    A column of `ClassLabel`, of numbers or of texts has one class for each picture; a column of lists of these has any
    number of them, for `MultiLabelTask`. A split that the data set lacks is held out of training, always the same
    pictures.

    Args:
        path: Name of a data set on the hub, a folder in one of the library's formats, such as one with a folder of
            pictures for each class, or a folder that its `save_to_disk` has written.
        name: Which of several configurations of the data set.
        image_column: Name of the column of pictures.
        label_column: Name of the column of labels.
        image_size: Height and width in pixels at which the model sees pictures.
        val_fraction: Part of each class that is held out for validation where there is no such split, in 0..1.
        test_fraction: Part of each class that is held out for the test where there is no such split; 0 has no test.
        in_channels: 3 for RGB, 1 for grey.
        augmentation: A named strength, a list of albumentations' transforms, or `CropAndFlip` on the device.
        on_bad_image: `error` stops at a picture that cannot be read. `skip` reads all pictures once before training,
            leaves the bad ones out, and lists them in `skipped.csv` of the run.
        skip_budget: Part of a split's pictures that may be skipped, in 0..1, rounded up.
        keep_decoded: Part of the machine's memory, in 0..1, that the training and the validation split may take to stay
            decoded, so that no picture is decoded twice; a larger split is decoded anew in each epoch.
        min_batches: Batches that an epoch of training has at least: a small split is gone through several times in it,
            each time in another order and with other augmentation.
        batch_size: Pictures in a batch, of each process.
        num_workers: Processes that load pictures; None takes none where the model itself runs on the CPU, and
            otherwise as many as there are CPU cores to spare, up to 8.
        seed: Seed of the order and of the augmentation.
    """

    def __init__(
        self,
        path: str,
        *,
        name: str | None = None,
        image_column: str = "image",
        label_column: str = "label",
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
        check_fractions(val_fraction, test_fraction)
        self.path = path
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self._columns = (image_column, label_column)
        self._tables = _by_split(path, _load(path, name), self._columns)
        self._class_names, self._read_label = _reader_of_labels(path, self._tables["train"], label_column)
        super().__init__(
            self._class_names,
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

    def source(self, split: Split) -> ClassificationSource:
        """List the pictures of one split."""
        if split != "train" and split in self._tables:
            return self._of(split)
        if split == "test" and not self.test_fraction:
            raise DataError(f"{self.path}: the data has no test split; set test_fraction, such as 0.1, before training")
        train = self._of("train")
        held_out = [
            fraction if part not in self._tables else 0.0
            for part, fraction in (("val", self.val_fraction), ("test", self.test_fraction))
        ]
        of_class: dict[int, list[str]] = defaultdict(list)
        for index in range(len(train)):
            label = train.label(index)
            # Where classes do not exclude each other, all pictures are divided as one.
            of_class[label if isinstance(label, int) else 0].append(str(index))
        chosen: list[int] = []
        for number, keys in of_class.items():
            parts = divide(keys, *held_out)
            if not parts["train"]:
                raise DataError(
                    f"{self.path}: class {self.class_names[number]} has {len(keys)} pictures, too few to hold some out"
                )
            chosen += map(int, parts[split])
        return ChosenSource(train, sorted(chosen))

    def _of(self, split: Split) -> "_TableSource":
        table = self._tables[split]
        labels = []
        for index, value in enumerate(table[self._columns[1]]):
            try:
                labels.append(self._read_label(value))
            except (KeyError, TypeError):
                raise DataError(
                    f"{self.path}/{split}/{index}: the label is {value!r}, no class of the training split; "
                    "choose a split that is labelled, or remove the row"
                ) from None
        return _TableSource(f"{self.path}/{split}", table, self._columns[0], labels, self.channels)


@final
class _TableSource(ClassificationSource):
    """Pictures in a table of the library, as the files that they were."""

    def __init__(self, where: str, table: Any, column: str, labels: Sequence[Label], channels: Literal[1, 3]) -> None:
        self._where = where
        self._table = table
        self._column = column
        self._labels = labels
        self._channels: Literal[1, 3] = channels

    def __len__(self) -> int:
        return len(self._labels)

    def read(self, index: int) -> tuple[NDArray[Any], Label]:
        return read_image(self.file(index), self._channels), self._labels[index]

    def open(self, index: int) -> tuple[Picture, Label]:
        return open_image(self.file(index), self._channels), self._labels[index]

    def label(self, index: int) -> Label:
        return self._labels[index]

    def name(self, index: int) -> str:
        return f"{self._where}/{index:05d}"

    def file(self, index: int) -> PictureFile:
        value = self._value(index)
        if value["bytes"] is None:
            return Path(value["path"])
        # Its contents are left in the table: who lists all files would hold the whole of it in memory.
        return EncodedPicture(self.name(index), lambda: bytes(self._value(index)["bytes"]))

    def _value(self, index: int) -> dict[str, Any]:
        value: dict[str, Any] | None = self._table[index][self._column]
        if value is None or (value["bytes"] is None and value["path"] is None):
            raise DataError(f"{self.name(index)}: there is no picture in this row; remove it")
        return value


def _load(path: str, name: str | None) -> Any:
    try:
        import datasets
    except ImportError:
        raise DataError(
            'HuggingFaceDataset needs the library datasets, which is not here: pip install "resvision[huggingface]"'
        ) from None
    try:
        if any((Path(path) / saved).is_file() for saved in _SAVED):
            return datasets.load_from_disk(path)
        return datasets.load_dataset(path, name)
    except Exception as error:  # The library raises errors of many kinds, its own and those of what it is built on.
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: the library datasets cannot load it ({reason}); check path and name") from error


def _by_split(path: str, loaded: Any, columns: tuple[str, str]) -> dict[Split, Any]:
    """Return the table of each split, its pictures as the files that they were."""
    import datasets

    named = loaded if isinstance(loaded, Mapping) else {"train": loaded}
    found: dict[Split, Any] = {}
    for name, table in named.items():
        split = split_named(str(name))
        if split is None or split[0] in found:
            continue
        for column in columns:
            if column not in table.column_names:
                raise DataError(
                    f"{path}/{name}: there is no column {column!r}, only {', '.join(table.column_names)}; "
                    "set image_column and label_column"
                )
        if not isinstance(table.features[columns[0]], datasets.Image):
            raise DataError(f"{path}/{name}: column {columns[0]!r} holds no pictures; set image_column")
        found[split[0]] = table.with_format(None).cast_column(columns[0], datasets.Image(decode=False))
    if "train" not in found:
        raise DataError(f"{path}: there is no split train, only {', '.join(map(str, named))}; choose another data set")
    return found


def _reader_of_labels(path: str, table: Any, column: str) -> tuple[list[str], Callable[[Any], Label]]:
    """Return the names of the classes, and what makes a label of a value of the column."""
    feature = table.features[column]
    inner = getattr(feature, "feature", None)
    values = table[column]
    names = getattr(feature if inner is None else inner, "names", None)
    if names is None:
        rows = ([value] for value in values) if inner is None else (row or [] for row in values)
        try:
            # A row of None is named once the labels are read.
            found = sorted({value for row in rows for value in row if value is not None})
        except TypeError:
            raise DataError(
                f"{path}: column {column!r} holds neither classes nor lists of them; set label_column"
            ) from None
        numbers = {value: number for number, value in enumerate(found)}
        names = [str(value) for value in found]
    else:
        numbers = {number: number for number in range(len(names))}
    if len(names) < (2 if inner is None else 1):
        raise DataError(f"{path}: column {column!r} has {len(names)} classes; set label_column")
    if inner is None:
        return list(names), numbers.__getitem__

    def read(shown: Sequence[Any]) -> NDArray[np.float32]:
        label = np.zeros(len(numbers), np.float32)
        label[[numbers[value] for value in shown]] = 1
        return label

    return list(names), read
