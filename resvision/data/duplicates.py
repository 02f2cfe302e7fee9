"""Finding files that are in two splits, where they make a score better than the model is."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

from resvision.data.errors import DataError
from resvision.data.reading import EncodedPicture, PictureFile
from resvision.data.splits import Split

__all__ = ["find_duplicates"]

#: Files up to which they are compared: of many more, most agree in size with others, and all would have to be read.
_MOST_FILES: Final = 100_000


def find_duplicates(files: Mapping[Split, Sequence[PictureFile]]) -> list[list[tuple[Split, PictureFile]]]:
    """Return the groups of files that have the same contents and are in more than one split.

    Only files that agree in size are read.

    Args:
        files: The files of each split.
    """
    if sum(len(of_split) for of_split in files.values()) > _MOST_FILES:
        return []
    alike: defaultdict[int, list[tuple[Split, PictureFile]]] = defaultdict(list)
    for split, of_split in files.items():
        for file in of_split:
            alike[_size(file)].append((split, file))
    same: defaultdict[bytes, list[tuple[Split, PictureFile]]] = defaultdict(list)
    for candidates in alike.values():
        if _across(candidates):
            for split, file in candidates:
                same[_hash(file)].append((split, file))
    return [group for digest, group in same.items() if digest and _across(group)]


def _size(file: PictureFile) -> int:
    """Return the bytes of a file; -1 for one that cannot be found, which is for the reader to say."""
    try:
        if isinstance(file, EncodedPicture):
            return len(file.read())
        return file.stat().st_size if isinstance(file, Path) else file.archive.size(file.name)
    except (OSError, DataError):
        return -1


def _hash(file: PictureFile) -> bytes:
    try:
        with file.open("rb") as opened:
            return blake2b(opened.read(), digest_size=16).digest()
    except (OSError, DataError):
        return b""


def _across(group: Sequence[tuple[Split, PictureFile]]) -> bool:
    return len({split for split, _ in group}) > 1
