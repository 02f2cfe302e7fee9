"""Reading what other people's annotation files hold, with distrust."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any, Final

from resvision.data.errors import DataError
from resvision.data.listing import find_pictures
from resvision.data.names import is_too_long, leads_out

__all__ = ["box_of", "first_few", "inside", "names_of_pictures", "read_lines", "read_small"]

#: Files that an error names before it only counts.
_SHOWN: Final = 3
#: Most bytes of a text file.
_MOST_BYTES: Final = 64 * 2**20


def box_of(values: Any, where: str) -> tuple[float, float, float, float]:
    """Return four numbers of a box, each finite.

    Args:
        values: What the annotations hold.
        where: What an error calls the box.

    Raises:
        DataError: Not four numbers, or one of them is not finite.
    """
    try:
        if not isinstance(values, list):
            raise TypeError  # a text or a mapping may hold four numbers as well
        first, second, third, fourth = (float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{where}: the box is {_short(values)}; it is a list of four numbers") from None
    if not (isfinite(first) and isfinite(second) and isfinite(third) and isfinite(fourth)):
        raise DataError(f"{where}: the box is {_short(values)}; its numbers must be finite")
    return first, second, third, fourth


def inside(folder: Path, name: str, where: str) -> tuple[str, Path]:
    """Return the name of a file with `/` throughout, and its path below a folder.

    Args:
        folder: What the name is relative to.
        name: What the annotations say; a backslash divides folders as well.
        where: What an error calls the annotation.

    Raises:
        DataError: No name, one that leads out of the folder, or one that is longer than those of files are.
    """
    pure = PurePosixPath(name.replace("\\", "/"))
    if not pure.name or leads_out(name) or "\0" in name:
        raise DataError(f"{where}: the file name {name!r} is none below {folder}; give it relative to that folder")
    path = folder / pure
    if is_too_long(path):
        raise DataError(
            f"{where}: the file name {_short(name)} is longer than that of any file; give the one below {folder}"
        )
    return pure.as_posix(), path


def names_of_pictures(folder: Path) -> list[str]:
    """Return the names of the pictures below a folder, relative to it and with `/`, in the order of the alphabet."""
    return sorted(path.as_posix() for path in find_pictures(folder))


def read_small(path: Path, most: int) -> bytes:
    """Return what the annotations of one picture hold.

    Raises:
        DataError: It cannot be read, or holds more than `most` bytes.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(data) > most:
        raise DataError(f"{path}: more than {most // 2**20} MiB of annotations for one picture; check it")
    return data


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty, without the blanks around them.

    Raises:
        DataError: It cannot be read, or is not UTF-8.
    """
    try:
        text = read_small(path, _MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file that can be read: {error}; save it as UTF-8") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def first_few(names: Sequence[str]) -> str:
    """Return the first names, for an error that cannot show them all."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _short(values: object) -> str:
    """Return what a file holds in the place of a box, without pages of it."""
    text = repr(values)
    return text if len(text) <= 80 else f"{text[:77]}..."
