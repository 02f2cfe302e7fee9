"""Settings of several values, given as Python has them and as a config says them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from resvision.data import CocoDetection, Columns, Folders, ImageCSV, MaskFolder
from resvision.data.given import given_as
from tests.data.box_folders import write_coco_set


def test_given__is_the_dataclass_or_a_mapping_of_its_fields() -> None:
    said = Folders("a", "b")
    assert given_as(Folders, "train", said) is said
    assert given_as(Folders, "train", {"images": "a", "masks": "b"}) == said
    assert given_as(Folders, "train", None) is None
    assert given_as(Columns, "columns", {"path": "file"}) == Columns(path="file")


@pytest.mark.parametrize("value", [("a", "b"), {"images": "a"}, {"images": "a", "labels": "b"}, "photos"])
def test_given__else_is_an_error_that_names_the_fields(value: Any) -> None:
    with pytest.raises(ValueError, match="train is a Folders, or a mapping with some of images, masks, got "):
        given_as(Folders, "train", value)


def _picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))


def test_data_modules__take_mappings_as_configs_do(tmp_path: Path) -> None:
    folders: Any = {"images": "photos", "masks": "masks"}
    for name in "ab":
        _picture(tmp_path / "photos" / f"{name}.png")
        _picture(tmp_path / "masks" / f"{name}.png")
    masks = MaskFolder(str(tmp_path), ["x"], train=folders, val=folders)
    assert len(masks.dataset("train")) == 2
    (tmp_path / "labels.csv").write_text(
        "file,label,split\nphotos/a.png,x,train\nphotos/b.png,y,val\n", encoding="utf-8"
    )
    columns: Any = {"path": "file"}
    assert ImageCSV(str(tmp_path), columns=columns).class_names == ("x", "y")
    root = write_coco_set(tmp_path / "boxes")
    place: Any = {"annotations": "annotations/train.json", "images": "images/train"}
    assert len(CocoDetection(str(root), train=place, val=place).dataset("train")) == 3
