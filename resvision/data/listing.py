"""Which files of a folder belong to a data set."""

from collections.abc import Collection
from pathlib import Path

from resvision.data.reading import IMAGE_SUFFIXES

__all__ = ["find_pictures", "visible_files"]


def visible_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files below a folder, relative to it, in order.

    What is hidden, such as `._a.jpg` of macOS and `.ipynb_checkpoints`, is left out.

    Args:
        folder: Where to look, in its folders as well.
        suffixes: Endings, in lower case, of the files that are wanted.
    """
    found = []
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if path.suffix.lower() in suffixes and not hidden and path.is_file():
            found.append(relative)
    return sorted(found)


def find_pictures(folder: Path) -> list[Path]:
    """Return the pictures below a folder as `visible_files` does."""
    return visible_files(folder, IMAGE_SUFFIXES)
