"""COCO's annotations: one JSON file for a split, read and written without torch."""

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, final

from resvision.data.annotation_files import box_of, inside
from resvision.data.detection_records import Annotations, DetectionFolder, Draft, Flag
from resvision.data.errors import DataError
from resvision.data.given import given_as
from resvision.data.listing import visible_files
from resvision.data.names import is_too_long
from resvision.data.splits import SPLITS, Split, split_named

__all__ = ["CocoFolder", "CocoSplit", "read_coco", "write_coco"]

#: Beginnings of the names of annotations that COCO keeps for other tasks, beside those of boxes.
_OTHER_TASKS: Final = ("captions", "image_info", "panoptic", "person_keypoints", "stuff")
#: Pictures that are looked for to find the folder in which they are.
_PROBES: Final = 20
#: Keys of an annotation beyond COCO's own; an object that is difficult is written as a crowd for other readers.
_FLAG_KEYS: Final = {"difficult": Flag.DIFFICULT, "truncated": Flag.TRUNCATED, "occluded": Flag.OCCLUDED}
#: Decimals of a pixel that are written.
_DECIMALS: Final = 6


@dataclass(frozen=True)
class CocoSplit:
    """Where a split lies, below the root.

    Attributes:
        annotations: JSON file.
        images: Folder that the pictures' names are relative to; None looks in the usual places.
    """

    annotations: str
    images: str | None = None


@final
class CocoFolder(DetectionFolder):
    """A data set with a JSON file for each split.

    What is not named is looked for: JSON files in the folder itself and in those within it, with `train`, `val` (or
    `valid`, `validation`) or `test` in their names or in those of their folders; and the pictures beside the JSON file,
    in `images`, or in folders that are named after the split.

    The classes are the categories of the training file, in the order of their ids, whatever gaps those have.

    Args:
        root: Folder of the data set.
        named: Files of the splits that need not be looked for.

    Raises:
        DataError: No such folder, no annotations of training pictures, or several to choose from.
    """

    def __init__(self, root: Path, named: Mapping[Split, CocoSplit | None]) -> None:
        if not root.is_dir():
            raise DataError(f"{root}: there is no such folder; set root to the folder of the data set")
        self.root = root
        places = {split: given_as(CocoSplit, split, place) for split, place in named.items()}
        given = {split: _named(root, split, place) for split, place in places.items() if place is not None}
        self._files = _find(root, given) | given
        if "train" not in self._files:
            raise DataError(
                f"{root}: there is no JSON file of training pictures, such as annotations/train.json; "
                "name it, as in train: {annotations: labels.json, images: photos}"
            )
        self.splits = tuple(split for split in SPLITS if split in self._files)
        self._train: Any = read_coco(self._files["train"].annotations)
        self.class_names = _class_names(self._train, self._files["train"].annotations)

    def read(self, split: Split) -> Annotations:
        """Read the JSON file of a split and check its pictures."""
        files = self._files[split]
        if split == "train" and self._train is not None:
            said, self._train = self._train, None  # hundreds of megabytes, in COCO's own
        else:
            said = read_coco(files.annotations)
        return _read(said, files, self.class_names, alone=len(self.splits) == 1)


@dataclass(frozen=True)
class _Files:
    """The JSON file of a split, and the folders in which its pictures may be, the likeliest first."""

    annotations: Path
    folders: tuple[Path, ...]


def _named(root: Path, split: Split, place: CocoSplit) -> _Files:
    _, annotations = inside(root, place.annotations, f"{split}.annotations")
    if not annotations.is_file():
        raise DataError(f"{annotations}: there is no such file; set {split}.annotations")
    if place.images is None:
        return _Files(annotations, _folders(root, annotations))
    folder = root if place.images in ("", ".") else inside(root, place.images, f"{split}.images")[1]
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; set {split}.images")
    return _Files(annotations, (folder,))


def _find(root: Path, given: Container[Split]) -> dict[Split, _Files]:
    """Look for the files of the splits that are not given."""
    found: dict[Split, list[Path]] = {}
    others = []
    for path in (root / name for name in visible_files(root, {".json"}) if len(name.parts) <= 2):
        if path.name.startswith(_OTHER_TASKS):
            continue
        named = split_named(path.stem) or (split_named(path.parent.name) if path.parent != root else None)
        if named is not None:
            found.setdefault(named[0], []).append(path)
        else:
            others.append(path)
    if not found and len(others) == 1:
        found["train"] = others  # as labelling tools export it
    found = {split: paths for split, paths in found.items() if split not in given}
    for split, paths in found.items():
        if len(paths) > 1:
            names = ", ".join(path.relative_to(root).as_posix() for path in paths)
            raise DataError(
                f"{root}: several files may be those of {split}: {names}; name one, as in {split}: "
                f"{{annotations: {paths[0].relative_to(root).as_posix()}}}"
            )
    return {split: _Files(paths[0], _folders(root, paths[0])) for split, paths in found.items()}


def _folders(root: Path, annotations: Path) -> tuple[Path, ...]:
    named = split_named(annotations.stem) or split_named(annotations.parent.name)
    folders = [annotations.parent, annotations.parent / "images", root / "images", root]
    if named is not None:
        split, word = named
        for name in (word, split):
            folders += [root / "images" / name, root / name / "images", root / name]
    # Parts of what other splits have, as COCO's `minival2014` of `val2014`.
    folders += sorted([*root.glob("images/*"), *root.glob("*")])
    return tuple(folder for folder in dict.fromkeys(folders) if folder.is_dir())


def read_coco(path: Path, lists: Sequence[str] = ("images", "annotations", "categories")) -> dict[str, Any]:
    """Read a JSON file of COCO's.

    Args:
        path: The file.
        lists: Keys of the lists that it must hold; what is in them is not looked at.

    Raises:
        DataError: The file cannot be read, is no JSON, or lacks one of the lists.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            said = json.load(file)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file that can be read: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not isinstance(said, dict):
        kind = "results, not annotations" if isinstance(said, list) else "no COCO annotations"
        raise DataError(f"{path}: {kind}; it must hold {', '.join(lists[:-1])} and {lists[-1]}")
    for key in lists:
        if not isinstance(said.get(key), list):
            raise DataError(f"{path}: no COCO annotations: there is no list of {key}")
    return said


def _categories(said: dict[str, Any], path: Path) -> dict[int, str]:
    """Return the names of the categories by their ids, in the order of the ids."""
    names: dict[int, str] = {}
    for position, entry in enumerate(said["categories"]):
        where = f"{path}: category {position}"
        number, name = _get(entry, "id", int, where), _get(entry, "name", str, where)
        if number in names or name in names.values():
            raise DataError(f"{where}: the id {number} or the name {name!r} is there twice")
        names[number] = name
    if not names:
        raise DataError(f"{path}: there are no categories")
    return dict(sorted(names.items()))


def _class_names(said: dict[str, Any], path: Path) -> tuple[str, ...]:
    """Return the classes of the training file.

    Some exports put a category above all others, of which there is no object: it is no class.
    """
    names = _categories(said, path)
    above = {
        entry["supercategory"]
        for entry in said["categories"]
        if isinstance(entry.get("supercategory"), str) and entry["supercategory"] != entry["name"]
    }
    used = {entry["category_id"] for entry in said["annotations"] if _is_used(entry)}
    return tuple(name for number, name in names.items() if number in used or name not in above)


def _is_used(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("category_id"), int | float)


def _read(said: dict[str, Any], files: _Files, class_names: Sequence[str], *, alone: bool) -> Annotations:
    """Take over what a file says.

    Args:
        said: The JSON file.
        files: Where it is, and where its pictures may be.
        class_names: The classes of the training file.
        alone: Whether it is the only file of the data set, so that it should name every picture.
    """
    path, draft = files.annotations, Draft()
    names = [_get(entry, "file_name", str, f"{path}: image {i}") for i, entry in enumerate(said["images"])]
    folder = _folder(files, names)
    pictures: dict[float | str, int] = {}
    listed = set()
    for position, (entry, name) in enumerate(zip(said["images"], names, strict=True)):
        where = f"{path}: image {position}"
        number = _get(entry, "id", (int, float, str), where)
        if number in pictures:
            raise DataError(f"{where}: the id {number!r} is there twice; give each picture its own")
        name, file = inside(folder, name, where)
        listed.add(name)
        pictures[number] = draft.picture(name, file, f"{path}, {name}", _declared(entry, where))
    categories = _categories(said, path)
    labels = {name: label for label, name in enumerate(class_names)}
    for position, entry in enumerate(said["annotations"]):
        where = f"{path}: annotation {position}"
        number = _get(entry, "image_id", (int, float, str), where)
        if number not in pictures:
            raise DataError(f"{where}: image_id is {number!r}, and no image has this id")
        label = _label(_get(entry, "category_id", (int, float), where), categories, labels, where)
        x, y, width, height = box_of(entry.get("bbox"), where)
        area = entry.get("area")
        draft.box(
            pictures[number],
            (x, y, x + width, y + height),
            label,
            flags=_flags(entry),
            area=area if isinstance(area, int | float) else None,
        )
    if alone or split_named(folder.name) is not None:
        draft.count_left_out(folder, listed)
    return draft.finish(str(path))


def _folder(files: _Files, names: Sequence[str]) -> Path:
    """Return the folder in which most of the first pictures are."""
    if not files.folders:
        raise DataError(f"{files.annotations}: there is no folder of its pictures; name it, as images: photos")
    probes = [name.replace("\\", "/") for name in names[:_PROBES] if "\0" not in name]
    return max(files.folders, key=lambda folder: sum(_is_there(folder / name) for name in probes))


def _is_there(path: Path) -> bool:
    return not is_too_long(path) and path.is_file()


def _get(entry: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kind):
        raise DataError(f"{where}: no COCO annotations: {key} is {value!r:.60}")
    return value


def _declared(entry: dict[str, Any], where: str) -> tuple[int, int] | None:
    height, width = (_whole(entry, key, where) for key in ("height", "width"))
    return None if height is None or width is None else (height, width)


def _whole(entry: dict[str, Any], key: str, where: str) -> int | None:
    """Return a number of pixels, which some tools write as 640.0, and None where there is none."""
    value = entry.get(key)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise DataError(f"{where}: {key} is {value!r:.60}; give a whole number of pixels, or leave it out")


def _label(number: float, categories: Mapping[int, str], labels: Mapping[str, int], where: str) -> int:
    """Return the class of a category."""
    name = categories.get(number)  # type: ignore[call-overload]  # 3.0 is 3
    if name is None:
        there = ", ".join(f"{number} {name}" for number, name in categories.items())
        raise DataError(f"{where}: category_id is {number}; the categories of the file are {there:.300}")
    if name not in labels:
        near = get_close_matches(name.casefold(), [known.casefold() for known in labels], n=1)
        meant = [known for known in labels if near and known.casefold() == near[0]]
        hint = f"did you mean {meant[0]!r}?" if meant else f"there are {', '.join(labels):.300}"
        raise DataError(f"{where}: its category {name!r} is no class of the training file; {hint}")
    return labels[name]


def _flags(entry: dict[str, Any]) -> int:
    flags = sum(flag for key, flag in _FLAG_KEYS.items() if entry.get(key) == 1)
    # What is difficult was written as a crowd too, for readers that do not know the word.
    return flags | Flag.CROWD if entry.get("iscrowd") == 1 and not flags & Flag.DIFFICULT else flags


def write_coco(path: Path, class_names: Sequence[str], annotations: Annotations) -> None:
    """Write a split as COCO's JSON.

    Categories, images and annotations are numbered from 1, the categories in the order of the classes.

    Args:
        path: File to write.
        class_names: Names of the classes.
        annotations: The pictures and their boxes; a picture's `file_name` is its name.
    """
    images: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    for index, name in enumerate(annotations.names):
        height, width = annotations.sizes[index].tolist()
        images.append({"id": index + 1, "file_name": name, "height": height, "width": width})
        rows = annotations.of(index)
        for box, label, flags, area in zip(
            annotations.boxes[rows].tolist(),
            annotations.labels[rows].tolist(),
            annotations.flags[rows].tolist(),
            annotations.area[rows].tolist(),
            strict=True,
        ):
            sides = (box[2] - box[0], box[3] - box[1])
            entry = {
                "id": len(entries) + 1,
                "image_id": index + 1,
                "category_id": label + 1,
                "bbox": [round(value, _DECIMALS) for value in (*box[:2], *sides)],
                "area": round(area, _DECIMALS),
                "iscrowd": int(flags & Flag.IGNORED != 0),
            }
            entries.append(entry | {key: 1 for key, flag in _FLAG_KEYS.items() if flags & flag})
    said = {
        "info": {},  # pycocotools copies it from one file into another
        "images": images,
        "annotations": entries,
        "categories": [{"id": number, "name": name} for number, name in enumerate(class_names, 1)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(said), encoding="utf-8")
