"""What `predict` writes of a detector: a line and a picture for each file, and COCO's list of results."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from operator import eq
from pathlib import Path, PurePath
from typing import Any, final

from numpy.typing import NDArray

from resvision.data.detection_coco import read_coco
from resvision.inference import DetectionResult

__all__ = ["CocoResults", "write_boxes"]


@final
class CocoResults:
    """Collects what is found, in the form that COCO's tools take.

    Without annotations, the id of a picture is the number that it is named after, as in COCO, if all are; or else its
    place among the files, from 1. The ids of the classes are their numbers, from 1.

    Args:
        pictures: All files, in their order.
        class_names: In the order of their numbers.
        annotations: COCO's JSON file for these pictures, whose ids are taken, by the names of files and classes. A
            picture is the image whose name is most of the end of its path.

    Raises:
        ValueError: The annotations are none of COCO's, do not know a class or a picture, or leave open which image a
            picture is.
    """

    def __init__(self, pictures: Sequence[Path], class_names: Sequence[str], annotations: Path | None) -> None:
        self._entries: list[str] = []  # as they are written, a fifth of the memory of dictionaries
        numbered = len({int(path.stem) for path in pictures if path.stem.isdecimal()}) == len(pictures)
        self._ids = {path: int(path.stem) if numbered else place for place, path in enumerate(pictures, 1)}
        self._categories = list(range(1, len(class_names) + 1))
        if annotations is not None:
            self._take_ids(annotations, class_names)

    def _take_ids(self, annotations: Path, class_names: Sequence[str]) -> None:
        said = read_coco(annotations, ("images", "categories"))
        try:
            images = {image["id"]: PurePath(image["file_name"].replace("\\", "/")) for image in said["images"]}
            categories = {category["name"]: category["id"] for category in said["categories"]}
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{annotations} is no JSON file of COCO's: images need id and file_name, categories id and name"
            ) from error
        missing = [name for name in class_names if name not in categories]
        if missing:
            raise ValueError(f"{annotations} has no category {missing[0]!r}; it has {', '.join(categories)}")
        try:
            self._ids = _image_ids(self._ids, images)
        except ValueError as error:
            raise ValueError(f"{annotations} {error}") from None
        self._categories = [categories[name] for name in class_names]

    def add(self, path: Path, result: DetectionResult) -> None:
        """Take what was found in a picture."""
        for box, score, label in zip(result.boxes.tolist(), result.scores.tolist(), result.labels, strict=True):
            left, top, right, bottom = box
            entry = {
                "image_id": self._ids[path],
                "category_id": self._categories[label],
                "bbox": [round(value, 3) for value in (left, top, right - left, bottom - top)],
                "score": round(score, 6),
            }
            self._entries.append(json.dumps(entry))

    def write(self, path: Path) -> None:
        """Write the list."""
        with path.open("w", encoding="utf-8") as file:
            file.write("[")
            for place, entry in enumerate(self._entries):
                file.write(f", {entry}" if place else entry)
            file.write("]")


def _image_ids(pictures: Iterable[Path], images: Mapping[int, PurePath]) -> dict[Path, int]:
    """Return the id of the image that each picture is.

    Args:
        pictures: Files.
        images: The name of each image, which may have folders, by its id.

    Raises:
        ValueError: No image is a picture, two fit it equally well, or two pictures would be one image.
    """
    alike = defaultdict(list)
    for number, name in images.items():
        alike[name.name].append(number)
    found: dict[int, Path] = {}
    for path in pictures:
        fits = {number: _fit(images[number], path) for number in alike.get(path.name, [])}
        if not fits:
            raise ValueError(f"has no image {path.name!r}; give --data with the pictures it is of")
        best = max(fits.values())
        first, *others = [number for number, fit in fits.items() if fit == best]
        if others:
            both = " and ".join(f"{images[number]} (id {number})" for number in (first, others[0]))
            raise ValueError(f"has two images that {path} may be: {both}; name its folders in their file_name")
        if first in found:
            raise ValueError(f"has one image, {images[first]} (id {first}), for both {found[first]} and {path}")
        found[first] = path
    return {path: number for number, path in found.items()}


def _fit(name: PurePath, path: Path) -> tuple[bool, int]:
    """Return whether a path ends with a whole name, and how many parts at their ends are equal."""
    equal = len([*takewhile(bool, map(eq, reversed(name.parts), reversed(path.absolute().parts)))])
    return equal == len(name.parts), equal


def write_boxes(result: DetectionResult, image: NDArray[Any], output: Path, name: Path) -> dict[str, Any]:
    """Write the picture with its boxes; return what is to be said of them."""
    overlay = output / "overlays" / name
    overlay.parent.mkdir(parents=True, exist_ok=True)
    result.overlay(image).save(overlay)
    objects = [
        {"class": name, "score": round(score, 6), "box": [round(value, 2) for value in box]}
        for name, score, box in zip(result.names(), result.scores.tolist(), result.boxes.tolist(), strict=True)
    ]
    return {"overlay": str(overlay.relative_to(output)), "objects": objects}
