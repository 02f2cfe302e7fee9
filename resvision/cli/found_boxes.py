"""What `predict` writes of a detector: a line and a picture for each file, and COCO's list of results."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from numpy.typing import NDArray

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
        annotations: COCO's JSON file for these pictures, whose ids are taken, by the names of files and classes.

    Raises:
        ValueError: The annotations are none of COCO's, or do not know a class.
    """

    def __init__(self, pictures: Sequence[Path], class_names: Sequence[str], annotations: Path | None) -> None:
        self._entries: list[dict[str, Any]] = []
        numbered = all(path.stem.isdecimal() for path in pictures) and len({p.stem for p in pictures}) == len(pictures)
        self._ids = {path: int(path.stem) if numbered else place for place, path in enumerate(pictures, 1)}
        self._categories = list(range(1, len(class_names) + 1))
        if annotations is not None:
            self._take_ids(annotations, class_names)

    def _take_ids(self, annotations: Path, class_names: Sequence[str]) -> None:
        wrong = f"{annotations} is no JSON file of COCO's: it needs the lists images and categories"
        try:
            said = json.loads(annotations.read_text(encoding="utf-8"))
            images = {Path(image["file_name"]).name: image["id"] for image in said["images"]}
            categories = {category["name"]: category["id"] for category in said["categories"]}
        except (UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
            raise ValueError(wrong) from error
        missing = [name for name in class_names if name not in categories]
        if missing:
            raise ValueError(f"{annotations} has no category {missing[0]!r}; it has {', '.join(categories)}")
        unknown = [path for path in self._ids if path.name not in images]
        if unknown:
            raise ValueError(f"{annotations} has no image {unknown[0].name!r}; give --data with the pictures it is of")
        self._ids = {path: images[path.name] for path in self._ids}
        self._categories = [categories[name] for name in class_names]

    def add(self, path: Path, result: DetectionResult) -> None:
        """Take what was found in a picture."""
        for box, score, label in zip(result.boxes.tolist(), result.scores.tolist(), result.labels, strict=True):
            left, top, right, bottom = box
            self._entries.append(
                {
                    "image_id": self._ids[path],
                    "category_id": self._categories[label],
                    "bbox": [round(value, 3) for value in (left, top, right - left, bottom - top)],
                    "score": round(score, 6),
                }
            )

    def write(self, path: Path) -> None:
        """Write the list."""
        path.write_text(json.dumps(self._entries), encoding="utf-8")


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
