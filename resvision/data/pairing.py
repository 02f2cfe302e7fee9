"""Finds each picture's mask by the names of the files."""

from dataclasses import dataclass
from pathlib import Path, PurePath

from resvision.data.annotation_files import first_few
from resvision.data.errors import DataError
from resvision.data.listing import find_pictures
from resvision.data.names import is_too_long, leads_out
from resvision.data.reading import IMAGE_SUFFIXES

__all__ = ["Folders", "Pair", "find_pairs"]


@dataclass(frozen=True)
class Folders:
    """Where the pictures of a split and their masks lie, below the root.

    Each is a folder, whose files and those of the folders in it are paired by their path without the ending.
    Or it is a pattern with one `*` in the file name, such as `photos/*.jpg` and `photos/*_mask.png`: files
    are then paired by what the `*` stands for.

    Attributes:
        images: Folder or pattern of the pictures.
        masks: Folder or pattern of the masks.
    """

    images: str
    masks: str


@dataclass(frozen=True)
class Pair:
    """A picture and its mask.

    Attributes:
        key: What the names of both have in common.
        image: File of the picture.
        mask: File of the mask.
    """

    key: str
    image: Path
    mask: Path


def find_pairs(root: Path, split: str, folders: Folders) -> list[Pair]:
    """Pair the pictures of a split with their masks, in the order of their names.

    A link to a file counts as what it leads to, wherever that lies; one to a folder is not searched.

    Args:
        root: Folder of the data set.
        split: Name of the split, for the words of an error.
        folders: Where to look below the root.

    Raises:
        DataError: A folder that is not there or holds no pictures, or a file without its partner.
        ValueError: A folder that leads out of the root.
    """
    images = _find(root, f"{split}.images", folders.images)
    masks = _find(root, f"{split}.masks", folders.masks)
    # Where both lie together, what is a mask by its pattern is no picture.
    if "*" in folders.masks and len(others := set(images.values()) - set(masks.values())) < len(images):
        images = {key: path for key, path in images.items() if path in others}
    for found, other, which, lacking, mend in (
        (images, masks, folders.images, f"no mask in {root / folders.masks}", "add the masks"),
        (masks, images, folders.masks, f"no picture in {root / folders.images}", "add the pictures"),
    ):
        alone = [found[key].name for key in sorted(found.keys() - other.keys())]
        if alone:
            files = "file has" if len(alone) == 1 else "files have"
            raise DataError(
                f"{root / which}: {len(alone)} {files} {lacking}: {first_few(alone)}; {mend} or remove them"
            )
    return [Pair(key, images[key], masks[key]) for key in sorted(images)]


def _find(root: Path, option: str, place: str) -> dict[str, Path]:
    """Return the pictures of a folder or a pattern by the part of their names that pairs them."""
    relative = PurePath(place)
    if leads_out(place) or is_too_long(root / relative):
        raise ValueError(f"{option} is {place!r:.80}; name a folder below the root, {root}")
    pattern = relative.name if "*" in relative.name else None
    folder = root / (relative.parent if pattern else relative)
    if "*" in str(folder.relative_to(root)) or (pattern or "").count("*") > 1:
        raise ValueError(f"{option} is {place!r}; one `*` is allowed, in the name of the file")
    if not folder.is_dir():
        there = sorted(path.name for path in root.iterdir() if path.is_dir())
        raise DataError(f"{folder}: there is no such folder; set {option} to one of: {', '.join(there) or 'none'}")
    found: dict[str, Path] = {}
    for name in find_pictures(folder):
        path, key = folder / name, _key(name, pattern)
        if key is None:
            continue
        if key in found:
            raise DataError(f"{path}: {found[key].name} is a picture of the same name; remove one of them")
        found[key] = path
    if not found:
        raise DataError(f"{root / place}: there are no pictures ({' '.join(sorted(IMAGE_SUFFIXES))}); set {option}")
    return found


def _key(path: Path, pattern: str | None) -> str | None:
    """Return the part of a file's path that pairs it, or None when it is not looked for."""
    if pattern is None:
        return path.with_suffix("").as_posix()
    if len(path.parts) > 1:
        return None
    before, after = pattern.split("*")
    if len(path.name) < len(pattern) - 1 or not (path.name.startswith(before) and path.name.endswith(after)):
        return None
    return path.name[len(before) : len(path.name) - len(after)]
