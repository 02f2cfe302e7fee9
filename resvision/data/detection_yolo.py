"""YOLO's annotations: a `data.yaml`, and a text file for each picture, read and written without torch."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import isfinite, nan
from pathlib import Path, PurePosixPath
from typing import Any, Final, final

import numpy as np
import yaml

from resvision.data.annotation_files import first_few, inside, names_of_pictures, read_lines
from resvision.data.detection_records import Annotations, DetectionFolder, Draft, Flag
from resvision.data.errors import DataError
from resvision.data.listing import visible_files
from resvision.data.names import is_too_long, leads_out
from resvision.data.plain_yaml import read_yaml
from resvision.data.reading import IMAGE_SUFFIXES
from resvision.data.splits import SPLITS, Split

__all__ = ["YoloFolder", "write_data_yaml", "write_yolo"]

#: What a split is called in `data.yaml`.
_KEYS: Final[dict[Split, tuple[str, ...]]] = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}
#: A centre further out than this part of a picture is none that was rounded.
_SLACK: Final = 0.01
#: Written by a labelling tool beside the label files.
_NO_LABELS: Final = "classes.txt"
#: Digits of a part of the picture that are written: enough for a millionth of a pixel.
_DIGITS: Final = 12


@final
class YoloFolder(DetectionFolder):
    """A data set with a text file for each picture, in which each line is a box.

    `data.yaml` names the classes, and for each split a folder of pictures, several, or text files that list pictures.
    Label files lie where `images` in the path of a picture is replaced with `labels`, or beside the picture. A line
    holds the number of the class, the centre, the width and the height of the box in parts of the picture; or the class
    and the corners of an outline, whose box is taken. A picture without a label file has no objects.

    Args:
        root: Folder of the data set.
        data_yaml: File below the root that describes it.

    Raises:
        DataError: No such file, or one that is not understood; a folder that is not there or lies outside the root.
    """

    def __init__(self, root: Path, data_yaml: str = "data.yaml") -> None:
        if not root.is_dir():
            raise DataError(f"{root}: there is no such folder; set root to the folder of the data set")
        self.root = root
        _, self._yaml = inside(root, data_yaml, "data_yaml")
        said = _load(self._yaml)
        self.class_names = _names(said, self._yaml)
        # Of lines for poses, which go on with the points of the body, the box is the first four numbers.
        self._has_points = bool(said.get("kpt_shape"))
        self._base = _base(root, said.get("path"))
        given: dict[Split, Any] = {
            split: next((said[key] for key in keys if said.get(key)), []) for split, keys in _KEYS.items()
        }
        self._places = {
            split: [_place(root, self._base, place, f"{self._yaml}: {split}") for place in _as_list(places)]
            for split, places in given.items()
            if places
        }
        if "train" not in self._places:
            raise DataError(f"{self._yaml}: there is no train; name the folder of the training pictures")
        self.splits = tuple(split for split in SPLITS if split in self._places)

    def read(self, split: Split) -> Annotations:
        """Read the label files of a split and check its pictures."""
        draft = Draft(relative=True)
        found, unlabelled = False, []
        places = self._places[split]
        for place in places:
            pictures = self._pictures(place, alone=len(places) == 1, draft=draft)
            for name, path in pictures:
                label_file = _label_file(self.root, path)
                picture = draft.picture(name, path, str(label_file))
                if label_file.is_file():
                    self._add(draft, picture, label_file)
                    found = True
                else:
                    unlabelled.append((path, label_file))
        if unlabelled and not found:
            path, label_file = unlabelled[0]
            raise DataError(f"{path}: neither it nor any other picture of {split} has a label file, here {label_file}")
        if unlabelled:
            where = str(unlabelled[0][0])
            draft.repairs.add("pictures without a label file, taken as without objects", where, len(unlabelled))
        return draft.finish(f"{self._yaml}, {split}")

    def _pictures(self, place: Path, *, alone: bool, draft: Draft) -> list[tuple[str, Path]]:
        """Return the pictures of a folder or of a list, by name and file."""
        if place.is_dir():
            names = names_of_pictures(place)
            if not names:
                raise DataError(f"{place}: there are no pictures ({' '.join(sorted(IMAGE_SUFFIXES))})")
            _check_labels(self.root, place, names)
            folder = place if alone else self._base
            return [((place / name).relative_to(folder).as_posix(), place / name) for name in names]
        pictures: dict[str, Path] = {}
        for number, line in enumerate(read_lines(place)):
            where = f"{place}: entry {number}"
            # Lists name pictures from their own folder or from that of the data set.
            name, path = min((inside(folder, line, where) for folder in (place.parent, self._base)), key=_is_missing)
            if name in pictures:
                draft.repairs.add("pictures listed twice, taken once", where)
            pictures[name] = path
        return list(pictures.items())

    def _add(self, draft: Draft, picture: int, path: Path) -> None:
        """Add the boxes of a label file."""
        for number, line in enumerate(read_lines(path)):
            where = f"{path}: box {number}"
            first, *rest = line.split()
            label = _number(first, where)
            if not label.is_integer() or not 0 <= label < len(self.class_names):
                last = len(self.class_names) - 1
                raise DataError(f"{where}: class {first}; {self._yaml.name} names the classes from 0 to {last}")
            values = [_number(word, where) for word in (rest[:4] if self._has_points else rest)]
            draft.box(picture, _corners(values, where), int(label))


def _corners(values: Sequence[float], where: str) -> tuple[float, float, float, float]:
    """Return xyxy, in parts of the picture, of a centre with width and height or of an outline."""
    wrong = [value for value in values if not -_SLACK <= value <= 1 + _SLACK]
    if len(values) == 4:
        x, y, width, height = values
        wrong = [value for value in wrong if value > 1 or value in (x, y)]  # a negative size is dropped with those of 0
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    elif len(values) >= 6 and len(values) % 2 == 0:
        xs, ys = values[::2], values[1::2]
        corners = (min(xs), min(ys), max(xs), max(ys))
    else:
        raise DataError(f"{where}: {len(values) + 1} numbers; there are five: class, centre x and y, width, height")
    if wrong:
        raise DataError(
            f"{where}: {wrong[0]:g} is no part of a picture, from 0 to 1; divide pixels by its width and height"
        )
    return corners


def _number(word: str, where: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = nan
    if not isfinite(number):
        raise DataError(f"{where}: {word!r:.40} is no number")
    return number


def _label_file(root: Path, picture: Path) -> Path:
    """Return the label file of a picture: below `labels` in the place of `images`, or beside it."""
    beside, usual = picture.with_suffix(".txt"), _usual_label_file(root, picture)
    return beside if beside.is_file() and not usual.is_file() else usual


def _usual_label_file(root: Path, picture: Path) -> Path:
    """Return where a label file is looked for first: the last `images` in the path of its picture becomes `labels`."""
    path = picture.with_suffix(".txt")
    parts = path.relative_to(root).parts
    if "images" not in parts[:-1]:
        return path
    last = len(parts) - 2 - parts[-2::-1].index("images")
    return root.joinpath(*parts[:last], "labels", *parts[last + 1 :])


def _check_labels(root: Path, folder: Path, names: Iterable[str]) -> None:
    """Check that a folder of label files has none without a picture."""
    labels = _label_file(root, folder / "x.jpg").parent
    if labels == folder or not labels.is_dir():  # beside the pictures there may be other texts
        return
    there = {path.with_suffix("").as_posix() for path in visible_files(labels, {".txt"}) if path.name != _NO_LABELS}
    alone = sorted(there - {str(PurePosixPath(name).with_suffix("")) for name in names})
    if alone:
        raise DataError(
            f"{labels}: {len(alone)} label files have no picture in {folder}: {first_few(alone)}; add the pictures "
            "under these names, letter for letter, or remove the files"
        )


def _is_missing(named: tuple[str, Path]) -> bool:
    return not named[1].is_file()


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; it names the classes and the folders of the pictures")
    said = read_yaml(path)
    if not isinstance(said, dict):
        raise DataError(f"{path}: it must name the classes (names) and the folders of the pictures (train, val)")
    return said


def _names(said: dict[str, Any], path: Path) -> tuple[str, ...]:
    names, count = said.get("names"), said.get("nc")
    if isinstance(names, dict):
        missing = [number for number in range(len(names)) if number not in names]
        if missing:
            raise DataError(
                f"{path}: names has no {missing[0]}; its numbers go from 0 to {len(names) - 1} without a gap"
            )
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int | float) for name in names):
        raise DataError(f"{path}: names must list the classes, as in names: [cat, dog]")
    for name in names:
        if isinstance(name, bool):
            raise DataError(f"{path}: names holds {name}, as YAML takes yes, no, on and off; put the name in quotes")
    if isinstance(count, int) and count != len(names):
        raise DataError(f"{path}: nc is {count}, and names has {len(names)} classes; make them agree")
    found = tuple(map(str, names))
    for name, times in Counter(found).items():
        if times > 1:
            raise DataError(f"{path}: names holds {name!r} twice")
    return found


def _base(root: Path, path: Any) -> Path:
    """Return the folder that places are relative to: `path` where it lies below the root, else the root.

    On other machines than the author's `path` leads anywhere; the root was named by the user.
    """
    if not isinstance(path, str) or path in ("", "."):
        return root
    below = root / path.replace("\\", "/")
    return below if not leads_out(path) and not is_too_long(below) and below.is_dir() else root


def _as_list(places: Any) -> list[Any]:
    return places if isinstance(places, list) else [places]


def _place(root: Path, base: Path, place: Any, where: str) -> Path:
    """Return the folder or the list of pictures that `data.yaml` names."""
    if not isinstance(place, str):
        raise DataError(f"{where} is {place!r:.60}; name a folder of pictures")
    if place in (".", "./"):
        return base
    # Much data comes with `../train/images`, meant from a folder beside the pictures.
    _, path = inside(base, place.replace("\\", "/").removeprefix("../"), where)
    if not path.exists():
        raise DataError(f"{path}: there is no such folder; {where} is {place!r}, below {base}")
    return path


def write_yolo(root: Path, split: Split, annotations: Annotations) -> None:
    """Write a label file for each picture in `images/<split>`, where `YoloFolder` looks for it.

    Boxes around crowds are left out, as there is no word for them; so are marks such as `difficult`.

    Args:
        root: Folder of the data set.
        split: The split.
        annotations: The pictures and their boxes.
    """
    for index, name in enumerate(annotations.names):
        rows = annotations.of(index)
        height, width = annotations.sizes[index].tolist()
        boxes = annotations.boxes[rows] / [width, height, width, height]
        table = np.hstack([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]])
        chosen = annotations.flags[rows] & Flag.CROWD == 0
        lines = [
            f"{label} {' '.join(f'{value:.{_DIGITS}g}' for value in row)}\n"
            for label, row in zip(annotations.labels[rows][chosen].tolist(), table[chosen].tolist(), strict=True)
        ]
        path = _usual_label_file(root, root / "images" / split / name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")


def write_data_yaml(root: Path, splits: Iterable[Split], class_names: Sequence[str]) -> None:
    """Write the `data.yaml` of a data set with the pictures of each split in `images/<split>`."""
    said = {split: f"images/{split}" for split in splits} | {"nc": len(class_names), "names": list(class_names)}
    (root / "data.yaml").write_text(yaml.safe_dump(said, sort_keys=False, allow_unicode=True), encoding="utf-8")
