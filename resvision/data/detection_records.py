"""Pictures with boxes, as every annotation format states them: checked, mended and counted, and then read by all.

What people expect to be mended is mended, and counted: boxes that stick out of the picture are clipped, those without a
size, or wholly outside, are dropped; a picture that a list names twice is taken once. What else is wrong is an error
that names its file.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from resvision.data.annotation_files import first_few, names_of_pictures
from resvision.data.errors import DataError
from resvision.data.reading import image_size
from resvision.data.splits import Split

__all__ = ["MAX_BOXES", "Annotations", "DetectionFolder", "Draft", "Flag", "Repairs"]

#: Most boxes of one picture: each is compared with every place of a feature map, so that more would ask for gigabytes.
MAX_BOXES: Final = 10_000

#: Pixels that count as nothing: what files with few decimals lose by rounding.
_NOTHING: Final = 0.01
#: Pixels that no picture reaches, and whose differences are numbers still.
_FAR: Final = 1e9
#: Decimals of a pixel that are kept, so that a number survives being written as a part of the picture and read back.
_DECIMALS: Final = 6


class Flag(IntFlag):
    """What is said of an object besides its box and its class."""

    CROWD = 1
    DIFFICULT = 2
    TRUNCATED = 4
    OCCLUDED = 8
    #: What neither trains nor counts in a score.
    IGNORED = CROWD | DIFFICULT


class Repairs:
    """Counts what was mended, with the first case of each kind."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, what: str, where: str, count: int = 1) -> None:
        """Count some cases of a kind, such as `boxes clipped to the picture`."""
        before, first = self._found.get(what, (0, where))
        self._found[what] = (before + count, first)

    def lines(self) -> list[str]:
        """Return a line for each kind."""
        return [f"{what}: {count}, the first in {where}" for what, (count, where) in self._found.items()]


@dataclass(frozen=True)
class _Picture:
    """A picture as its annotations name it.

    Attributes:
        name: Path below the folder of the pictures.
        path: Its file.
        where: What an error calls the annotations of this picture.
        declared: Height and width that the annotations state, None if they do not.
    """

    name: str
    path: Path
    where: str
    declared: tuple[int, int] | None


@dataclass(frozen=True)
class Annotations:
    """The pictures of one split and their boxes, in flat arrays that worker processes share without a copy.

    Attributes:
        names: N paths below the folder of the pictures, with `/`.
        paths: N files.
        sizes: (N, 2), int64, height and width of each picture, as its file says.
        starts: (N + 1,), int64; the boxes of picture i are those from `starts[i]` to `starts[i + 1]`.
        boxes: (M, 4), float64, xyxy in pixels, of positive size and inside their picture.
        labels: (M,), int64, classes from 0.
        flags: (M,), uint8, see `Flag`.
        area: (M,), float64, pixels of the object where the annotations say so, else of its box.
        repairs: What was mended, a line for each kind.
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    sizes: NDArray[np.int64]
    starts: NDArray[np.int64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    flags: NDArray[np.uint8]
    area: NDArray[np.float64]
    repairs: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def of(self, index: int) -> slice:
        """Return where the boxes of a picture stand in the arrays."""
        return slice(int(self.starts[index]), int(self.starts[index + 1]))

    def subset(self, names: Sequence[str]) -> "Annotations":
        """Return some of the pictures, in their order here."""
        wanted = set(names)
        chosen = [index for index, name in enumerate(self.names) if name in wanted]
        rows = [np.arange(self.starts[index], self.starts[index + 1]) for index in chosen]
        row = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        return Annotations(
            tuple(self.names[index] for index in chosen),
            tuple(self.paths[index] for index in chosen),
            self.sizes[chosen],
            np.cumsum([0, *map(len, rows)]),
            self.boxes[row],
            self.labels[row],
            self.flags[row],
            self.area[row],
            self.repairs,
        )


class DetectionFolder(ABC):
    """A data set on disk in one of the formats.

    Attributes:
        root: Its folder.
        class_names: Names of the classes, in the order of their numbers.
        splits: The splits that it has.
    """

    root: Path
    class_names: tuple[str, ...]
    splits: tuple[Split, ...]

    @abstractmethod
    def read(self, split: Split) -> Annotations:
        """Read and check the annotations of one of the splits."""


class Draft:
    """Takes in what the annotations of a split say, picture by picture.

    Args:
        relative: Whether boxes are stated in parts of the width and height of their picture.
    """

    def __init__(self, *, relative: bool = False) -> None:
        self.relative = relative
        self.repairs = Repairs()
        self._pictures: list[_Picture] = []
        self._rows: list[tuple[int, float, float, float, float, int, int, float]] = []

    def picture(self, name: str, path: Path, where: str, declared: tuple[int, int] | None = None) -> int:
        """Add a picture.

        Args:
            name: Path below the folder of the pictures, with `/`.
            path: Its file.
            where: What an error calls the annotations of this picture.
            declared: Height and width that the annotations state, None if they do not.

        Returns:
            The number by which boxes are added to it.
        """
        self._pictures.append(_Picture(name, path, where, declared))
        return len(self._pictures) - 1

    def box(
        self,
        picture: int,
        xyxy: tuple[float, float, float, float],
        label: int,
        *,
        flags: int = 0,
        area: float | None = None,
    ) -> None:
        """Add a box to a picture; an area of None, or one that no picture has, is that of the box."""
        self._rows.append((picture, *xyxy, label, flags, area if area is not None and 0 < area < _FAR**2 else np.nan))

    def count_left_out(self, folder: Path, listed: Iterable[str]) -> None:
        """Count the pictures of a folder that are not among those that the annotations list."""
        left_out = sorted(set(names_of_pictures(folder)).difference(listed))
        if left_out:
            self.repairs.add("pictures left out that have no annotations", str(folder / left_out[0]), len(left_out))

    def finish(self, split: str) -> Annotations:
        """Check the pictures and mend the boxes.

        Args:
            split: What the pictures are, for the words of an error.

        Raises:
            DataError: No picture, or no box that counts, in all the split; a picture that is listed twice, not there,
                not one at all, of another size than its annotations state, or with more than `MAX_BOXES` boxes.
        """
        if not self._pictures:
            raise DataError(f"{split}: there are no pictures")
        self._check_pictures(split)
        sizes = np.array([_size(picture) for picture in self._pictures], np.int64)
        table = np.array(self._rows, np.float64).reshape(-1, 8)
        # Stable, so that the boxes of a picture keep their order.
        table = table[np.argsort(table[:, 0], kind="stable")]
        self._check_numbers(table[:, 0].astype(np.int64))
        table = self._mend(table, sizes)
        area = table[:, 7]
        sides = table[:, 3:5] - table[:, 1:3]
        flags = table[:, 6].astype(np.uint8)
        if not np.any(flags & Flag.IGNORED == 0):
            raise DataError(
                f"{split}: no object that counts in any of the {len(sizes)} pictures; check the annotations"
            )
        counts = np.bincount(table[:, 0].astype(np.int64), minlength=len(sizes))
        return Annotations(
            tuple(picture.name for picture in self._pictures),
            tuple(picture.path for picture in self._pictures),
            sizes,
            np.concatenate([[0], np.cumsum(counts)]),
            np.ascontiguousarray(table[:, 1:5]),
            table[:, 5].astype(np.int64),
            flags,
            np.where(np.isnan(area), sides.prod(axis=1), area),
            tuple(self.repairs.lines()),
        )

    def _check_pictures(self, split: str) -> None:
        seen: dict[Path, str] = {}
        for picture in self._pictures:
            if picture.path in seen:
                raise DataError(f"{picture.where}: the picture {picture.name} is listed twice; remove one of the two")
            seen[picture.path] = picture.where
        missing = [picture for picture in self._pictures if not picture.path.is_file()]
        if missing:
            names = [picture.name for picture in missing]
            raise DataError(
                f"{split}: {len(missing)} of {len(seen)} pictures are not in {_folder(missing[0])}: {first_few(names)}"
                + _other_case(missing[0].path)
            )

    def _check_numbers(self, picture: NDArray[np.int64]) -> None:
        counts = np.bincount(picture, minlength=1)
        most = int(counts.argmax())
        if counts[most] > MAX_BOXES:
            raise DataError(
                f"{self._pictures[most].where}: {counts[most]:,} boxes in one picture, where at most {MAX_BOXES:,} "
                "can be used; check it, or cut the picture into tiles"
            )

    def _mend(self, table: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Bring boxes to pixels, clip them and drop what is left of nothing."""
        picture = table[:, 0].astype(np.int64)
        limits = np.tile(sizes[picture][:, ::-1], 2).astype(np.float64)
        stated = (table[:, 1:5] * limits if self.relative else table[:, 1:5]).clip(-_FAR, _FAR)
        boxes = np.clip(stated, 0, limits).round(_DECIMALS)
        no_size = (stated[:, 2:] - stated[:, :2] <= _NOTHING).any(axis=1)
        outside = ~no_size & (boxes[:, 2:] - boxes[:, :2] <= _NOTHING).any(axis=1)
        kept = ~no_size & ~outside
        clipped = kept & (np.abs(stated - boxes) > _NOTHING).any(axis=1)
        for mask, what in (
            (no_size, "boxes of no size dropped"),
            (outside, "boxes outside their picture dropped"),
            (clipped, "boxes clipped to their picture"),
        ):
            if mask.any():
                row = int(mask.argmax())
                number = row - int(np.searchsorted(picture, picture[row]))
                self.repairs.add(what, f"{self._pictures[picture[row]].where}, box {number}", int(mask.sum()))
        mended: NDArray[np.float64] = table[kept]
        mended[:, 1:5] = boxes[kept]
        return mended


def _size(picture: _Picture) -> tuple[int, int]:
    """Return height and width of a picture as its file says, which must be what its boxes were drawn on."""
    height, width = size = image_size(picture.path)
    if picture.declared is not None and min(picture.declared) > 0 and picture.declared != size:
        turned = " (upright, as its EXIF tag may say)" if picture.declared == (width, height) else ""
        raise DataError(
            f"{picture.where}: boxes for {picture.declared[1]}x{picture.declared[0]} pixels, but "
            f"{picture.name} has {width}x{height}{turned}; correct the size, and the boxes if they do not fit"
        )
    return size


def _folder(picture: _Picture) -> Path:
    """Return the folder that a picture's name is relative to."""
    return picture.path.parents[len(PurePosixPath(picture.name).parts) - 1]


def _other_case(path: Path) -> str:
    """Return a hint at a file whose name differs by the case of its letters alone."""
    if path.parent.is_dir():
        for other in path.parent.iterdir():
            if other.name.casefold() == path.name.casefold():
                return f"; there is {other.name}, and the case of letters counts"
    return "; add the pictures, or take them out of the annotations"
