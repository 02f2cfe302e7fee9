"""Folders and archives with one folder for each class, seen as one and the same."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import final

from resvision.data.errors import DataError
from resvision.data.listing import find_pictures
from resvision.data.reading import IMAGE_SUFFIXES, PictureFile
from resvision.data.splits import SPLITS, Split, split_named
from resvision.data.zipped import ZipArchive

__all__ = ["ClassTree", "find_trees"]


class ClassTree(ABC):
    """Pictures of one split in folders that are named after their classes."""

    @abstractmethod
    def class_names(self) -> list[str]:
        """Return the names of the classes, in the order of the alphabet; pictures are not looked for."""

    @abstractmethod
    def files(self, name: str) -> dict[str, PictureFile]:
        """Return the pictures of a class, in order, by their path from the folder of the split on."""

    @abstractmethod
    def where(self, name: str | None = None) -> str:
        """Return what a person knows the tree by, or the folder of one class in it."""

    def pictures(self, name: str) -> dict[str, PictureFile]:
        """Return the pictures of a class, of which there is at least one."""
        found = self.files(name)
        if not found:
            kinds = " ".join(sorted(IMAGE_SUFFIXES))
            raise DataError(
                f"{self.where(name)}: there are no pictures of this class ({kinds}); add some, or take the folder out"
            )
        return found

    def several_class_names(self) -> list[str]:
        """Return the names of the classes, of which there are at least two."""
        names = self.class_names()
        if len(names) < 2:
            there = f"there is only the folder {names[0]}" if names else "there are no folders"
            raise DataError(f"{self.where()}: {there}; put the pictures of each class into one of its own")
        return names


def find_trees(root: Path) -> dict[Split, ClassTree]:
    """Return the tree of each split that has one; `root` itself is that of training if nothing is named `train`.

    Raises:
        DataError: No such folder, or two folders that could both be a split's.
    """
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder; set root to the folder of the data set")
    archives, folders = _split_archives(root), _split_folders(root)
    # A class of trains, full of pictures, is no split.
    if not any(map(_subfolders, folders.get("train", []))) and "train" not in archives:
        if folders and sum(map(len, folders.values())) == len(_subfolders(root)):
            names = ", ".join(path.name for split in folders.values() for path in split)
            raise DataError(f"{root}: {names} are no classes; put a folder for each class into those of the splits")
        return {"train": _FolderTree(root)}
    found: dict[Split, ClassTree] = {}
    for split in SPLITS:
        there = folders.get(split, [])
        if len(there) > 1:
            raise DataError(f"{root}: both {there[0].name} and {there[1].name} are there; keep one of them")
        # Who has unpacked an archive may have kept it.
        if split in archives and not (there and _subfolders(there[0])):
            found[split] = _ZipTree(split, archives[split])
        elif there:
            found[split] = _FolderTree(there[0])
    return found


@final
class _FolderTree(ClassTree):
    """Folders of classes in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def class_names(self) -> list[str]:
        return _subfolders(self._folder)

    def files(self, name: str) -> dict[str, PictureFile]:
        folder = self._folder / name
        return {f"{name}/{path.as_posix()}": folder / path for path in find_pictures(folder)}

    def where(self, name: str | None = None) -> str:
        return str(self._folder if name is None else self._folder / name)


@final
class _ZipTree(ClassTree):
    """Folders of classes in the archives of a split."""

    def __init__(self, split: Split, archives: Sequence[Path]) -> None:
        self._archives = archives
        entries = [(entry.parts, entry) for path in archives for entry in ZipArchive(path).files(IMAGE_SUFFIXES)]
        above = _folders_above(split, [parts for parts, _ in entries])
        self._files: dict[str, dict[str, PictureFile]] = {}
        for parts, entry in sorted(entries, key=itemgetter(0)):
            inside = parts[above:]
            if len(inside) < 2:
                continue  # Beside the folders of the classes.
            files = self._files.setdefault(inside[0], {})
            name = "/".join(inside)
            if (other := files.get(name)) is not None:
                raise DataError(f"{entry}: {other} has the same name; keep one of them")
            files[name] = entry

    def class_names(self) -> list[str]:
        return sorted(self._files)

    def files(self, name: str) -> dict[str, PictureFile]:
        return self._files.get(name, {})

    def where(self, name: str | None = None) -> str:
        shown = str(self._archives[0]) if len(self._archives) == 1 else f"{self._archives[0]} and the others"
        return shown if name is None else f"{shown}, folder {name}"


def _split_folders(root: Path) -> dict[Split, list[Path]]:
    """Return the folders of each split: those that are called by a word for it, and nothing else."""
    found: dict[Split, list[Path]] = {}
    for name in _subfolders(root):
        named = split_named(name)
        if named is not None and named[1] == name.lower():
            found.setdefault(named[0], []).append(root / name)
    return found


def _split_archives(root: Path) -> dict[Split, list[Path]]:
    """Return the archives of each split: `train.zip`, or `train_1.zip`, `train_2.zip`, ..."""
    found: dict[Split, list[Path]] = {}
    for path in sorted(root.iterdir()):
        hidden = path.name.startswith(".")
        named = split_named(path.stem) if path.suffix.lower() == ".zip" and path.is_file() and not hidden else None
        if named is not None:
            found.setdefault(named[0], []).append(path)
    return {split: found[split] for split in SPLITS if split in found}


def _folders_above(split: Split, paths: Sequence[tuple[str, ...]]) -> int:
    """Return the number of folders above those of the classes: down to the one that all share and the split names."""
    shared = 0
    for depth, parts in enumerate(zip(*(path[:-1] for path in paths), strict=False), start=1):
        if len(set(parts)) > 1:
            break
        named = split_named(parts[0])
        if named is not None and named[0] == split:
            shared = depth
    return shared


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
