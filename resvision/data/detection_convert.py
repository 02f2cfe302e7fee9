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
from resvision.data.names import leads_out
from resvision.data.reading import IMAGE_SUFFIXES
from resvision.data.splits import Split

__all__ = ["FORMATS", "Format", "check_class_names", "losses", "open_folder", "target_names", "write_folder"]

Format = Literal["coco", "voc", "yolo"]

FORMATS: Final[tuple[Format, ...]] = ("coco", "voc", "yolo")

#: Unicode's kinds of marks that a line or an XML file does not hold: control characters, halves of marks, line ends;
#: and the marks by which files of text begin, or are known as none.
_NO_TEXT: Final = ("Cc", "Cs", "Zl", "Zp")
_NO_MARKS: Final = "\ufeff\ufffe\uffff"
#: What the name of a picture must be so that the reader of a format finds it again.
_NAMES: Final[dict[Format, str]] = {
    "coco": "has no backslash and begins with no drive",
    "voc": "is one line of text in UTF-8, without backslashes and blanks around it",
    "yolo": f"ends in one of {' '.join(sorted(IMAGE_SUFFIXES))}, and neither it nor a folder in it begins with a dot",
}


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
        if not _is_line(name):
            raise DataError(
                f"VOC cannot hold the class {name!r}: a name is one line of text, without blanks around it; "
                "rename the class"
            )


def target_names(found: Mapping[Split, Annotations], form: Format) -> dict[Split, tuple[str, ...]]:
    """Return what the pictures of each split are called in another format.

    They keep their names. VOC has one folder for all splits: where two pictures would share an XML file there, those of
    each split get a folder of their own.

    Raises:
        DataError: Two pictures of a split would share one file of annotations, or a name would not be found again.
    """
    named = {split: annotations.names for split, annotations in found.items()}
    for split, names in named.items():
        for name in names:
            if not _comes_back(name, form):
                raise DataError(
                    f"{split}: {form.upper()} cannot hold the picture {name!r}: its name {_NAMES[form]}; rename it"
                )
    if form == "coco":
        return named
    if form == "voc" and _repeated([name for names in named.values() for name in names]) is not None:
        named = {split: tuple(f"{split}/{name}" for name in names) for split, names in named.items()}
    for split, names in named.items():
        stem = _repeated(names)
        if stem is not None:
            raise DataError(f"{split}: there are two pictures {stem} with different endings; rename one of them")
    return named


def _comes_back(name: str, form: Format) -> bool:
    """Return whether the reader of a format finds a picture under the name that it has there."""
    pure = PurePosixPath(name)
    if form == "yolo":  # whose reader looks for pictures by itself
        return pure.suffix.lower() in IMAGE_SUFFIXES and not any(part.startswith(".") for part in pure.parts)
    said = [name] if form == "coco" else [name, str(pure.with_suffix(""))]
    return not any("\\" in text or leads_out(text) or (form == "voc" and not _is_line(text)) for text in said)


def _is_line(name: str) -> bool:
    """Return whether a line of a file and an XML file give back a name as it is."""
    unfit = any(category(mark) in _NO_TEXT or mark in _NO_MARKS for mark in name)
    return name != "" and name == name.strip() and not unfit


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
