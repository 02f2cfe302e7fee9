"""Which files of a folder belong to a data set."""

import os
from collections.abc import Collection
from pathlib import Path

from resvision.data.reading import IMAGE_SUFFIXES

__all__ = ["find_pictures", "visible_files"]


def visible_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files below a folder, relative to it, in order.

    What is hidden, such as `._a.jpg` of macOS and `.ipynb_checkpoints`, is left out, and so are links that lead to no
    file; links to folders and folders that cannot be opened are not searched.

    Args:
        folder: Where to look, in its folders as well.
        suffixes: Endings, in lower case, of the files that are wanted.
    """
    # By `os.scandir`, which knows of most entries what they are: `Path.rglob` asks the disk for each of a million.
    found: list[tuple[str, ...]] = []
    pending: list[tuple[str, ...]] = [()]
    while pending:
        below = pending.pop()
        try:
            entries = os.scandir(folder.joinpath(*below))
        except OSError:
            continue
        with entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append((*below, entry.name))
                elif os.path.splitext(entry.name)[1].lower() in suffixes and _is_file(entry):  # noqa: PTH122  # as fast
                    found.append((*below, entry.name))
    return [Path(*parts) for parts in sorted(found)]


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # of a link that leads to itself, or where nobody may look
        return False


def find_pictures(folder: Path) -> list[Path]:
    """Return the pictures below a folder as `visible_files` does."""
    return visible_files(folder, IMAGE_SUFFIXES)
