"""Finding files that are in two splits, where they make a score better than the model is."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from io import SEEK_END
from pathlib import Path
from typing import Final

from resvision.data.errors import DataError
from resvision.data.reading import EncodedPicture, PictureFile
from resvision.data.splits import Split

__all__ = ["MOST_FILES", "find_duplicates"]

Group = list[tuple[Split, PictureFile]]

#: Files up to which they are compared: of many more, most agree in size with others, and all would have to be opened.
MOST_FILES: Final = 100_000
#: Bytes at both ends that files have to agree in before they are read as a whole.
_END: Final = 4096


def find_duplicates(files: Mapping[Split, Sequence[PictureFile]]) -> list[Group]:
    """Return the groups of files that have the same contents and are in more than one split.

    Only files that agree in size, and in their first and last bytes, are read as a whole.

    Args:
        files: The files of each split.
    """
    groups = [[(split, file) for split, of_split in files.items() for file in of_split]]
    # In an archive the end is not reached without the rest.
    are_files = all(isinstance(file, Path) for _, file in groups[0])
    for sign in (_size, _ends, _hash) if are_files else (_size, _hash):
        parted: list[Group] = []
        for group in groups:
            alike: defaultdict[int | bytes, Group] = defaultdict(list)
            for split, file in group:
                alike[sign(file)].append((split, file))
            parted += [part for value, part in alike.items() if value != b"" and _across(part)]
        groups = parted
    return groups


def _size(file: PictureFile) -> int:
    """Return the bytes of a file; -1 for one that cannot be found, which is for the reader to say."""
    try:
        if isinstance(file, EncodedPicture):
            return len(file.read())
        return file.stat().st_size if isinstance(file, Path) else file.archive.size(file.name)
    except (OSError, DataError):
        return -1


def _ends(file: PictureFile) -> bytes:
    """Return the first and the last bytes of a file, b"" for one that cannot be read."""
    try:
        with file.open("rb") as opened:
            start = opened.read(_END)
            opened.seek(max(opened.seek(0, SEEK_END) - _END, 0))
            return start + opened.read()
    except (OSError, DataError):
        return b""


def _hash(file: PictureFile) -> bytes:
    """Return what tells a file's content from others, b"" for one that cannot be read."""
    try:
        with file.open("rb") as opened:
            return blake2b(opened.read(), digest_size=16).digest()
    except (OSError, DataError):
        return b""


def _across(group: Group) -> bool:
    return len({split for split, _ in group}) > 1
