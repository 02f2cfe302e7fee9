"""Reading a CSV file of pictures and their labels, with distrust."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

from resvision.data.annotation_files import first_few, inside
from resvision.data.errors import DataError
from resvision.data.splits import SPLITS, Split, split_named

__all__ = ["Columns", "LabelTable", "Row", "read_table"]

_DELIMITERS: Final = (",", ";", "\t")
#: Characters of a cell that an error shows.
_LONGEST: Final = 40
#: Largest weight of a picture: the sum of any number of them is a number too.
_HEAVIEST: Final = 1e100


@dataclass(frozen=True)
class Columns:
    """What the columns of the table are called; those that are optional may be missing under their usual names.

    Attributes:
        path: Path of the picture, relative to `root`.
        label: The class of a picture that shows exactly one.
        labels: In place of that, all classes that a picture shows; an empty cell for none.
        split: Optional: `train`, `val` or `test`, or an empty cell.
        group: Optional: what must stay together in one split, such as a patient or a day.
        weight: Optional: how often a picture is visited in training, in proportion to the others.
        separator: What stands between the classes in `labels`.
    """

    path: str = "path"
    label: str = "label"
    labels: str = "labels"
    split: str = "split"
    group: str = "group"
    weight: str = "weight"
    separator: str = ";"


@dataclass(frozen=True, slots=True)
class Row:
    """One picture.

    Attributes:
        where: File and line, for errors.
        key: Path relative to the root, with `/` throughout.
        path: Where the picture lies.
        labels: Its classes.
        split: Where it belongs, if the table says so.
        group: What it must stay together with, if the table says so.
        weight: How often it is visited.
    """

    where: str
    key: str
    path: Path
    labels: tuple[str, ...]
    split: Split | None
    group: str | None
    weight: float


@dataclass(frozen=True)
class LabelTable:
    """The pictures of a table.

    Attributes:
        rows: Pictures, in the order of the file.
        kind: Whether a picture has one class or any number of them.
    """

    rows: Sequence[Row]
    kind: Literal["one", "many"]

    def class_names(self) -> list[str]:
        """Return all classes, in the order of the alphabet, or of numbers if all of them are."""
        # Those that are one number, such as 1 and 01, keep the order of the alphabet.
        names = sorted({label for row in self.rows for label in row.labels})
        return sorted(names, key=Decimal) if all(name.isdecimal() for name in names) else names


def read_table(file: Path, root: Path, columns: Columns) -> LabelTable:
    """Read a table and check what can be checked without a picture.

    The cells are divided by commas, semicolons or tabs.

    Args:
        file: The table, in UTF-8, its first line the names of the columns.
        root: What the paths are relative to.
        columns: Names of the columns.

    Raises:
        DataError: No such file, not a table, a column or a cell that is missing, a path that leads out of the root, a
            picture that comes twice, an unknown split, a group in two splits, or a weight that is none.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            header = opened.readline()
            # That by which there is the column of paths; else, for the error, that by which there are the most columns.
            delimiter = max(
                _DELIMITERS, key=lambda mark: (columns.path in _cells(header, mark), len(_cells(header, mark)))
            )
            opened.seek(0)
            reader = csv.DictReader(opened, delimiter=delimiter)
            kind = _kind(file, reader.fieldnames or [], columns)
            _check_optional(file, reader.fieldnames or [], columns)
            rows = [_row(f"{file}, line {reader.line_num}", cells, root, columns, kind) for cells in reader]
    except FileNotFoundError:
        raise DataError(f"{file}: there is no such file; set file to the table of the data set") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: not a CSV file in UTF-8 ({error}); save it as one") from None
    if not rows:
        raise DataError(f"{file}: there is no picture in the table; add a line for each")
    _check_unique(rows)
    _check_groups(rows)
    return LabelTable(rows, kind)


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _kind(file: Path, names: Sequence[str], columns: Columns) -> Literal["one", "many"]:
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{file}: two columns are called {_shown(name)!r}; rename one")
    if columns.path not in names:
        raise DataError(
            f"{file}: {_lacks(columns.path, names)}; set columns, as in columns: {{path: {_any(names[:1])}}}"
        )
    found: list[Literal["one", "many"]] = []
    if columns.label in names:
        found.append("one")
    if columns.labels in names:
        found.append("many")
    if not found:
        lacking = f"{columns.label}' or '{columns.labels}"
        raise DataError(f"{file}: {_lacks(lacking, names)}; set columns, as in columns: {{label: {_any(names)}}}")
    if len(found) > 1:
        raise DataError(f"{file}: both {columns.label!r} and {columns.labels!r} are columns; keep one of them")
    return found[0]


def _check_optional(file: Path, names: Sequence[str], columns: Columns) -> None:
    """Refuse a column that is asked for by another name than the usual one, and is not there."""
    for setting in ("split", "group", "weight"):
        name = getattr(columns, setting)
        if name not in names and name != getattr(Columns, setting):
            raise DataError(f"{file}: {_lacks(name, names)}; set columns.{setting}")


def _lacks(name: str, names: Sequence[str]) -> str:
    return f"there is no column '{name}', only {first_few([*map(_shown, names)]) or 'an empty line'}"


def _any(names: Sequence[str]) -> str:
    return _shown(names[-1]) if names else "file"


def _shown(text: str) -> str:
    """Return what a file holds in the place of a name or a number, without pages of it."""
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _row(
    where: str, cells: Mapping[str | None, str | None], root: Path, columns: Columns, kind: Literal["one", "many"]
) -> Row:
    if None in cells or None in cells.values():
        raise DataError(f"{where}: not as many cells as there are columns; put a cell that holds a comma into quotes")
    key, path = inside(root, _cell(cells, columns.path), where)
    if kind == "one":
        labels: tuple[str, ...] = (_cell(cells, columns.label),)
        if not labels[0]:
            raise DataError(f"{where}: the cell of column {columns.label!r} is empty; name the class of {key}")
    else:
        parts = (part.strip() for part in _cell(cells, columns.labels).split(columns.separator))
        labels = tuple(part for part in parts if part)
    return Row(
        where, key, path, labels, _split(where, cells, columns), _group(cells, columns), _weight(where, cells, columns)
    )


def _cell(cells: Mapping[str | None, str | None], column: str) -> str:
    return (cells.get(column) or "").strip()


def _split(where: str, cells: Mapping[str | None, str | None], columns: Columns) -> Split | None:
    if columns.split not in cells:
        return None
    name = _cell(cells, columns.split)
    if not name:
        return None
    named = split_named(name)
    if named is None or named[1] != name.lower():
        raise DataError(f"{where}: the split is {_shown(name)!r}; it is one of {', '.join(SPLITS)}")
    return named[0]


def _group(cells: Mapping[str | None, str | None], columns: Columns) -> str | None:
    return _cell(cells, columns.group) or None


def _weight(where: str, cells: Mapping[str | None, str | None], columns: Columns) -> float:
    if columns.weight not in cells:
        return 1.0
    text = _cell(cells, columns.weight)
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if not 0 <= weight <= _HEAVIEST:
        raise DataError(f"{where}: the weight is {_shown(text)!r}; it is a number from 0 to {_HEAVIEST:g}")
    return weight


def _check_unique(rows: Sequence[Row]) -> None:
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row.key, row)
        if other is not row:
            raise DataError(f"{row.where}: {row.key} is on line {other.where.rsplit(' ')[-1]} too; keep one of them")


def _check_groups(rows: Sequence[Row]) -> None:
    first: dict[str, Row] = {}
    for row in rows:
        if row.group is None:
            continue
        other = first.setdefault(row.group, row)
        if other.split != row.split:
            raise DataError(
                f"{row.where}: group {row.group} is in {row.split or 'no split'} here and in "
                f"{other.split or 'no split'} on line {other.where.rsplit(' ')[-1]}; a group belongs to one split"
            )
