"""Small data sets with boxes in each format, for the tests to read and to spoil.

Each has three pictures of 60 x 40 pixels: `a` with a cat and a dog, `b` with a dog, `c` without objects.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

#: Width and height of every picture.
WIDTH, HEIGHT = 60, 40
#: xyxy of the objects of each picture, with their classes.
OBJECTS: Mapping[str, Sequence[tuple[str, tuple[float, float, float, float]]]] = {
    "a": (("cat", (3, 4, 23, 34)), ("dog", (30, 10, 60, 25.5))),
    "b": (("dog", (0, 0, 60, 40)),),
    "c": (),
}
CLASSES = ("cat", "dog")


def draw(path: Path, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    """Write a picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), noise)


def coco_said() -> dict[str, Any]:
    """Return what the JSON file holds, with gaps between the ids."""
    ids = {"cat": 3, "dog": 17}
    said: dict[str, Any] = {
        "images": [
            {"id": 10 * n, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT}
            for n, name in enumerate(OBJECTS, 1)
        ],
        "categories": [{"id": 17, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": [],
    }
    for number, objects in enumerate(OBJECTS.values(), 1):
        for name, (x1, y1, x2, y2) in objects:
            said["annotations"].append(
                {
                    "id": 100 + len(said["annotations"]),
                    "image_id": 10 * number,
                    "category_id": ids[name],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    return said


def write_coco_set(root: Path, said: Any = None, split: str = "train") -> Path:
    """Write `annotations/<split>.json` with its pictures, and return the root."""
    for name in OBJECTS:
        draw(root / "images" / split / f"{name}.png")
    (root / "annotations").mkdir(exist_ok=True)
    said = coco_said() if said is None else said
    (root / "annotations" / f"{split}.json").write_text(json.dumps(said), encoding="utf-8")
    return root


def voc_xml(objects: Sequence[tuple[str, tuple[Any, Any, Any, Any]]], *, inside: str = "", before: str = "") -> str:
    """Return an XML file; `inside` is added to each object, `before` stands before everything."""
    entries = "".join(
        f"<object><name>{name}</name>{inside}<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for name, box in objects
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return f"{before}<annotation><filename>other.jpg</filename>{size}{entries}</annotation>"


def write_voc_set(root: Path) -> Path:
    """Write `Annotations`, `JPEGImages` and the list `train.txt`, and return the root."""
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (root / "Annotations").mkdir()
    for name, objects in OBJECTS.items():
        draw(root / "JPEGImages" / f"{name}.png")
        (root / "Annotations" / f"{name}.xml").write_text(voc_xml(objects), encoding="utf-8")
    (lists / "train.txt").write_text("\n".join(OBJECTS), encoding="utf-8")
    return root


def write_yolo_set(root: Path) -> Path:
    """Write `images/train`, `labels/train` and `data.yaml`, and return the root; `c` has no label file."""
    labels = root / "labels" / "train"
    labels.mkdir(parents=True)
    for name, objects in OBJECTS.items():
        draw(root / "images" / "train" / f"{name}.png")
        lines = [
            f"{CLASSES.index(kind)} {(x1 + x2) / 2 / WIDTH} {(y1 + y2) / 2 / HEIGHT} "
            f"{(x2 - x1) / WIDTH} {(y2 - y1) / HEIGHT}\n"
            for kind, (x1, y1, x2, y2) in objects
        ]
        if lines:
            (labels / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
    (root / "data.yaml").write_text("train: images/train\nnames: [cat, dog]\n", encoding="utf-8")
    return root
