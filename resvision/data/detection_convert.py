"""Turning a data set with boxes from one format into another, without torch."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final, Literal
from unicodedata import category

from resvision.data.detection_coco import CocoFolder, write_coco
from resvision.data.detection_records import Annotations, DetectionFolder, Flag
from resvision.data.detection_voc import VocFolder, write_voc
from resvision.data.detection_yolo import YoloFolder, write_data_yaml, write_yolo
from resvision.data.errors import DataError
from resvision.data.splits import Split

__all__ = ["FORMATS", "Format", "check_class_names", "losses", "open_folder", "target_names", "write_folder"]

Format = Literal["coco", "voc", "yolo"]

FORMATS: Final[tuple[Format, ...]] = ("coco", "voc", "yolo")

#: Unicode's kinds of marks that a line or an XML file does not hold: control characters, halves of marks, line ends.
_NO_TEXT: Final = ("Cc", "Cs", "Zl", "Zp")


def open_folder(root: Path, form: Format) -> DetectionFolder:
    """Open a data set whose files lie in the usual places."""
    if form == "coco":
        return CocoFolder(root, {})
    return VocFolder(root, {}) if form == "voc" else YoloFolder(root)


def losses(annotations: Annotations, form: Format) -> list[str]:
    """Return what a format has no words for, a line for each kind."""
    if form != "yolo":
        return []
    crowds = annotations.flags & Flag.CROWD != 0
    marked = ~crowds & (annotations.flags & ~Flag.CROWD != 0)
    sides = annotations.boxes[:, 2:] - annotations.boxes[:, :2]
    sized = abs(annotations.area - sides.prod(axis=1)) > 1e-3 * annotations.area
    counts = {
        "boxes around crowds, left out": crowds,
        "objects that were marked difficult, truncated or occluded, and no longer are": marked,
        "objects whose area is now that of their box": ~crowds & sized,
    }
    return [f"{what}: {mask.sum()}" for what, mask in counts.items() if mask.any()]


def check_class_names(class_names: Sequence[str], form: Format) -> None:
    """Check that a format gives back the names of the classes as they are.

    Raises:
        DataError: VOC does not: of a name it keeps what stands between the blanks around it, on a single line.
    """
    for name in class_names if form == "voc" else ():
        if name != name.strip():
            raise DataError(f"VOC drops the blanks around the name of the class {name!r}; rename the class")
        if not name or any(category(mark) in _NO_TEXT for mark in name):
            raise DataError(f"VOC cannot hold the class {name!r}: a name is one line of text; rename the class")


def target_names(found: Mapping[Split, Annotations], form: Format) -> dict[Split, tuple[str, ...]]:
    """Return what the pictures of each split are called in another format.

    They keep their names. VOC has one folder for all splits: where two pictures would share an XML file there, those of
    each split get a folder of their own.

    Raises:
        DataError: Two pictures of a split would share one file of annotations.
    """
    named = {split: annotations.names for split, annotations in found.items()}
    if form == "coco":
        return named
    if form == "voc" and _repeated([name for names in named.values() for name in names]) is not None:
        named = {split: tuple(f"{split}/{name}" for name in names) for split, names in named.items()}
    for split, names in named.items():
        stem = _repeated(names)
        if stem is not None:
            raise DataError(f"{split}: there are two pictures {stem} with different endings; rename one of them")
    return named


def write_folder(
    root: Path, form: Format, class_names: tuple[str, ...], found: Mapping[Split, Annotations], *, link: bool
) -> None:
    """Write a data set.

    Args:
        root: Empty folder.
        form: Its format.
        class_names: Names of the classes.
        found: The pictures and boxes of each split.
        link: Whether to link to the pictures instead of copying them.

    Raises:
        DataError: See `check_class_names` and `target_names`; then nothing has been written.
    """
    check_class_names(class_names, form)
    named = target_names(found, form)
    for split, annotations in found.items():
        renamed = replace(annotations, names=named[split])
        pictures = root / "JPEGImages" if form == "voc" else root / "images" / split
        for name, path in zip(renamed.names, renamed.paths, strict=True):
            _place(path, pictures / name, link=link)
        if form == "coco":
            write_coco(root / "annotations" / f"{split}.json", class_names, renamed)
        elif form == "voc":
            write_voc(root, split, class_names, renamed)
        else:
            write_yolo(root, split, renamed)
    if form == "yolo":
        write_data_yaml(root, found, class_names)


def _place(source: Path, target: Path, *, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        target.symlink_to(source.resolve())
    else:
        shutil.copyfile(source, target)


def _repeated(names: list[str] | tuple[str, ...]) -> str | None:
    """Return the first name that two files have without their endings."""
    stems = Counter(str(PurePosixPath(name).with_suffix("")) for name in names)
    return next((stem for stem, count in stems.items() if count > 1), None)
