"""Pascal VOC's annotations: one XML file for a picture, read and written without torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Final, final

from resvision.data.annotation_files import first_few, inside, names_of_pictures, read_lines
from resvision.data.detection_records import Annotations, DetectionFolder, Draft
from resvision.data.errors import DataError
from resvision.data.listing import visible_files
from resvision.data.reading import IMAGE_SUFFIXES
from resvision.data.splits import SPLITS, Split, split_named
from resvision.data.voc_xml import VocObject, VocPicture, read_annotation, write_annotation

__all__ = ["VocFolder", "write_voc"]

#: File below the root with the name of a class on each line, in the order of their numbers.
_CLASS_FILE: Final = "classes.txt"
#: What the folders of the annotations and of the pictures may be called; they may also lie together.
_ANNOTATIONS: Final = ("Annotations", "annotations", "xml", "xmls", "labels")
_PICTURES: Final = ("JPEGImages", "images", "Images")


@dataclass(frozen=True)
class _Part:
    """The files of a split.

    Attributes:
        annotations: Folder of the XML files.
        pictures: Folder of the pictures.
        files: XML file of each picture, by the path of both below those folders, without the ending.
        repeated: Stems that were listed more than once.
    """

    annotations: Path
    pictures: Path
    files: Mapping[str, Path]
    repeated: tuple[str, ...] = ()


@final
class VocFolder(DetectionFolder):
    """A data set with an XML file for each picture.

    The splits are the lists `train.txt`, `val.txt` and `test.txt` in `ImageSets/Main`, or else folders that are named
    after them, or else everything is for training. The XML files lie in `Annotations` and the pictures in `JPEGImages`
    or `images`, or both together. A picture is known by the name of its XML file, whatever that says inside.

    Args:
        root: Folder of the data set.
        named: Lists in `ImageSets/Main` that stand for splits, without the ending. With one for training, such as
            `trainval`, validation has a list only if it is named too.
        class_names: Names of the classes in the order of their numbers. None takes them from `classes.txt`, one on each
            line, or else all that are found, in the order of the alphabet.

    Raises:
        DataError: No such folder or list, no XML files, one that cannot be read, or a class that is not known.
    """

    def __init__(self, root: Path, named: Mapping[Split, str | None], class_names: Sequence[str] | None = None) -> None:
        if not root.is_dir():
            raise DataError(f"{root}: there is no such folder; set root to the folder of the data set")
        self.root = root
        self._parts = _find(root, {split: name for split, name in named.items() if name is not None})
        self.splits = tuple(split for split in SPLITS if split in self._parts)
        self._parsed = {
            split: {stem: read_annotation(xml) for stem, xml in part.files.items()}
            for split, part in self._parts.items()
        }
        self.class_names = tuple(class_names or _listed_classes(root / _CLASS_FILE) or self._found())

    def _found(self) -> list[str]:
        """Return the classes of all objects, in the order of the alphabet."""
        first: dict[str, Path] = {}
        for split, part in self._parts.items():
            for stem, parsed in self._parsed[split].items():
                for thing in parsed.objects:
                    first.setdefault(thing.name, part.files[stem])
        names = sorted(first)
        folded: dict[str, str] = {}
        for name in names:
            other = folded.setdefault(name.casefold(), name)
            if other != name:
                raise DataError(
                    f"{first[name]}: the class {name!r} is {other!r} in {first[other].name}; write both alike, "
                    "or name the classes by class_names if they differ"
                )
        if not names:
            raise DataError(f"{self.root}: there is no object in any XML file; check the annotations")
        return names

    def read(self, split: Split) -> Annotations:
        """Check the pictures and the boxes of a split."""
        part, draft = self._parts[split], Draft()
        files: dict[str, list[str]] = {}
        for name in names_of_pictures(part.pictures):
            files.setdefault(str(PurePosixPath(name).with_suffix("")), []).append(name)
        labels = {name: label for label, name in enumerate(self.class_names)}
        for stem, parsed in self._parsed[split].items():
            xml = part.files[stem]
            name, path = _picture(part, stem, parsed, files.get(stem, []), xml)
            picture = draft.picture(name, path, str(xml), parsed.size)
            for number, thing in enumerate(parsed.objects):
                where = f"{xml}: object {number}"
                x1, y1, x2, y2 = thing.box
                if x1 > x2 or y1 > y2:
                    draft.repairs.add("boxes with swapped corners put in order", where)
                box = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
                draft.box(picture, box, _label(thing.name, labels, where), flags=thing.flags, area=thing.area)
        if part.repeated:
            draft.repairs.add("pictures listed twice, taken once", part.repeated[0], len(part.repeated))
        if split == "train":
            together = [other for other in self._parts.values() if other.pictures == part.pictures]
            listed = {stem for other in together for stem in other.files}
            draft.count_left_out(part.pictures, (name for stem in listed for name in files.get(stem, [])))
        return draft.finish(f"{self.root}, {split}")


def _picture(part: _Part, stem: str, parsed: VocPicture, found: Sequence[str], xml: Path) -> tuple[str, Path]:
    """Return the name and the file of a picture: the one that is called as its XML file, or else what that says."""
    if len(found) > 1:
        raise DataError(f"{xml}: both {found[0]} and {found[1]} may be its picture; remove one of them")
    if found:
        return found[0], part.pictures / found[0]
    return inside(part.pictures, parsed.file_name or f"{stem}.jpg", str(xml))


def _label(name: str, labels: Mapping[str, int], where: str) -> int:
    if name in labels:
        return labels[name]
    known = {other.casefold(): other for other in labels}
    near = get_close_matches(name.casefold(), known, n=1)
    hint = f"did you mean {known[near[0]]!r}?" if near else f"the classes are {', '.join(labels):.300}"
    raise DataError(f"{where}: there is no class {name!r}; {hint}")


def _listed_classes(path: Path) -> list[str]:
    return read_lines(path) if path.is_file() else []


def _find(root: Path, named: Mapping[Split, str]) -> dict[Split, _Part]:
    lists = next((folder for folder in (root / "ImageSets" / "Main", root / "ImageSets") if _lists(folder)), None)
    if lists is not None:
        return _find_lists(root, lists, named)
    if named:
        split, name = next(iter(named.items()))
        raise DataError(
            f"{root}: {split} is {name!r}, and there are no lists in ImageSets/Main; leave it out, or add them"
        )
    parts: dict[Split, _Part] = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        found = split_named(folder.name)
        if found is None or not (part := _everything(folder)).files:
            continue
        if found[0] in parts:
            raise DataError(f"{folder}: another folder is named after {found[0]} too; keep one of them")
        parts[found[0]] = part
    if "train" in parts:
        return parts
    part = _everything(root)
    if not part.files:
        raise DataError(f"{root}: there are no XML files, in Annotations or beside the pictures; set root")
    return {"train": part}


def _find_lists(root: Path, lists: Path, named: Mapping[Split, str]) -> dict[Split, _Part]:
    there = _lists(lists)
    chosen: dict[Split, str] = {split: split for split in SPLITS if split in there}
    if "trainval" in there:
        chosen.setdefault("train", "trainval")
    if "train" in named:  # what it names may hold the pictures of val
        chosen.pop("val", None)
    chosen |= named
    if "train" not in chosen:
        raise DataError(f"{lists}: there is no train.txt; set train to one of: {', '.join(there)}")
    return {split: _read_list(root, lists, split, name) for split, name in chosen.items()}


def _read_list(root: Path, lists: Path, split: Split, name: str) -> _Part:
    _, path = inside(lists, f"{name}.txt", split)
    if not path.is_file():
        raise DataError(f"{path}: there is no such list; set {split} to one of: {', '.join(_lists(lists))}")
    annotations, pictures = _folder(root, _ANNOTATIONS), _folder(root, _PICTURES)
    files: dict[str, Path] = {}
    repeated, missing = [], []
    for number, line in enumerate(read_lines(path)):
        stem, xml = _entry(annotations, line, f"{path}: entry {number}")
        if stem in files:
            repeated.append(f"{path}, {stem}")
        elif not xml.is_file():
            missing.append(stem)
        files[stem] = xml
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(files)} pictures have no XML file in {annotations}: {first_few(missing)}; "
            "add the files (one without objects for a picture without), or take the pictures out of the list"
        )
    return _Part(annotations, pictures, files, tuple(repeated))


def _entry(annotations: Path, line: str, where: str) -> tuple[str, Path]:
    """Return what a line of a list calls a picture, without its ending, and the XML file, which may not be there."""
    pure = PurePosixPath(line)
    # What looks like the ending of a picture may belong to its name, as in that of `a.jpg.png`.
    stems = [pure, pure.with_suffix("")] if pure.suffix.lower() in IMAGE_SUFFIXES else [pure]
    for stem, ending in product(stems, ("xml", "XML")):
        name, _ = inside(annotations, str(stem), where)
        _, xml = inside(annotations, f"{stem}.{ending}", where)
        if xml.is_file():
            break
    return name, xml


def _everything(folder: Path) -> _Part:
    """Return all XML files of a folder and the pictures with them."""
    annotations = _folder(folder, _ANNOTATIONS)
    files = {path.with_suffix("").as_posix(): annotations / path for path in visible_files(annotations, {".xml"})}
    return _Part(annotations, _folder(folder, _PICTURES), dict(sorted(files.items())))


def _folder(root: Path, names: Sequence[str]) -> Path:
    return next((root / name for name in names if (root / name).is_dir()), root)


def _lists(folder: Path) -> list[str]:
    """Return the names of the lists that lie in a folder."""
    return [path.stem for path in visible_files(folder, {".txt"}) if len(path.parts) == 1]


def write_voc(root: Path, split: Split, class_names: Sequence[str], annotations: Annotations) -> None:
    """Write an XML file for each picture, the list of the split, and the classes.

    Corners are written in pixels from 0, as the boxes are, and as whole numbers where they are.

    Args:
        root: Folder of the data set.
        split: The split.
        class_names: Names of the classes.
        annotations: The pictures and their boxes.
    """
    stems = [str(PurePosixPath(name).with_suffix("")) for name in annotations.names]
    for index, (stem, name) in enumerate(zip(stems, annotations.names, strict=True)):
        rows = annotations.of(index)
        boxes, areas = annotations.boxes[rows].tolist(), annotations.area[rows].tolist()
        labels, flags = annotations.labels[rows].tolist(), annotations.flags[rows].tolist()
        objects = tuple(
            VocObject(class_names[label], (box[0], box[1], box[2], box[3]), flag, area)
            for box, label, flag, area in zip(boxes, labels, flags, areas, strict=True)
        )
        height, width = annotations.sizes[index].tolist()
        path = root / _ANNOTATIONS[0] / f"{stem}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_annotation(path, VocPicture(name, (height, width), objects))
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
    (root / _CLASS_FILE).write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
