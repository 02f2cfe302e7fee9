"""Whatever annotation files hold, reading them ends in boxes that can be trained on, or in one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from resvision.data.detection_convert import Format, open_folder
from resvision.data.detection_records import Annotations
from resvision.data.errors import DataError
from tests.data.box_folders import HEIGHT, WIDTH, coco_said, voc_xml, write_coco_set, write_voc_set, write_yolo_set

_SETTINGS = settings(max_examples=150, deadline=None, derandomize=True, database=None)

_NUMBERS = st.one_of(
    st.integers(-3, 70), st.floats(-80, 80), st.floats(), st.integers(), st.sampled_from([1e308, -1e308, 5e-324])
)
_WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
_JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), _NUMBERS, st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=8,
)


def _check(root: Path, form: Format) -> Annotations | None:
    try:
        folder = open_folder(root, form)
        found = folder.read("train")
    except DataError as error:
        assert "\n" not in str(error)  # noqa: PT017  # a reader may succeed as well
        return None
    boxes = found.boxes
    assert np.isfinite(boxes).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes >= 0).all()
    assert (boxes <= [WIDTH, HEIGHT, WIDTH, HEIGHT]).all()
    assert ((found.labels >= 0) & (found.labels < len(folder.class_names))).all()
    assert (np.isfinite(found.area) & (found.area > 0)).all()
    assert len(found.labels) == len(found.flags) == len(found.area) == len(boxes) == found.starts[-1]
    return found


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coco_set(tmp_path_factory.mktemp("coco"))


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voc_set(tmp_path_factory.mktemp("voc"))


@pytest.fixture(scope="module")
def yolo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_yolo_set(tmp_path_factory.mktemp("yolo"))


@_SETTINGS
@given(boxes=st.lists(st.tuples(_NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS), max_size=5), area=_NUMBERS)
def test_coco__boxes_of_any_numbers(coco: Path, boxes: list[tuple[float, ...]], area: float) -> None:
    said = coco_said()
    said["annotations"] += [{"image_id": 10, "category_id": 3, "bbox": box, "area": area} for box in boxes]
    (coco / "annotations" / "train.json").write_text(json.dumps(said), encoding="utf-8")
    _check(coco, "coco")


@_SETTINGS
@given(data=st.data(), value=_JUNK)
def test_coco__anything_in_any_place(coco: Path, data: st.DataObject, value: Any) -> None:
    said = coco_said()
    part = data.draw(st.sampled_from(sorted(said)))
    place = data.draw(st.integers(-1, len(said[part]) - 1))
    if place < 0:
        said[part] = value
    else:
        key = data.draw(st.sampled_from([None, *sorted(said[part][place])]))
        if key is None:
            said[part][place] = value
        else:
            said[part][place][key] = value
    (coco / "annotations" / "train.json").write_text(json.dumps(said), encoding="utf-8")
    _check(coco, "coco")


@_SETTINGS
@given(content=st.one_of(st.binary(max_size=60), _JUNK.map(lambda value: json.dumps(value).encode())))
def test_coco__any_content(coco: Path, content: bytes) -> None:
    (coco / "annotations" / "train.json").write_bytes(content)
    assert _check(coco, "coco") is None


@_SETTINGS
@given(objects=st.lists(st.tuples(_WORDS, st.tuples(_NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS)), max_size=5))
def test_voc__objects_of_any_names_and_numbers(voc: Path, objects: list[tuple[str, tuple[float, ...]]]) -> None:
    (voc / "Annotations" / "b.xml").write_text(voc_xml(objects), encoding="utf-8")  # type: ignore[arg-type]
    _check(voc, "voc")


@_SETTINGS
@given(cut=st.integers(0, 700), junk=st.binary(max_size=20))
def test_voc__broken_files(voc: Path, cut: int, junk: bytes) -> None:
    content = voc_xml([("cat", (1, 2, 30, 20)), ("dog", (5, 5, 10, 10))]).encode()
    (voc / "Annotations" / "b.xml").write_bytes(content[:cut] + junk + content[cut + len(junk) :])
    _check(voc, "voc")


@_SETTINGS
@given(lines=st.lists(st.lists(st.one_of(st.integers(-1, 3), _NUMBERS, st.floats(0, 1)), max_size=9), max_size=5))
def test_yolo__lines_of_any_numbers(yolo: Path, lines: list[list[float]]) -> None:
    text = "\n".join(" ".join(map(str, line)) for line in lines)
    (yolo / "labels" / "train" / "b.txt").write_text(text, encoding="utf-8")
    _check(yolo, "yolo")


@_SETTINGS
@given(content=st.one_of(st.binary(max_size=60), _WORDS.map(str.encode)))
def test_yolo__any_content(yolo: Path, content: bytes) -> None:
    (yolo / "labels" / "train" / "b.txt").write_bytes(content)
    _check(yolo, "yolo")


@_SETTINGS
@given(
    said=st.one_of(
        _JUNK, st.fixed_dictionaries({"train": _JUNK, "names": _JUNK}, optional={"nc": _JUNK, "path": _JUNK})
    )
)
def test_data_yaml__anything(yolo: Path, said: Any) -> None:
    (yolo / "data.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
    _check(yolo, "yolo")
