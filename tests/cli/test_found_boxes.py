"""The list of results in COCO's form, and whose ids it uses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resvision.cli.found_boxes import CocoResults, write_boxes
from resvision.inference import DetectionResult

NAMES = ("cat", "dog")


def _result() -> DetectionResult:
    boxes = np.array([[1.5, 2, 4, 8], [0, 0, 10, 10]], np.float32)
    return DetectionResult(boxes, np.array([0.75, 0.5], np.float32), np.array([1, 0]), NAMES)


def _written(results: CocoResults, picture: Path, folder: Path) -> list[dict[str, Any]]:
    results.add(picture, _result())
    results.write(folder / "out.json")
    entries: list[dict[str, Any]] = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    return entries


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["000007.jpg", "000123.jpg"], 123),
        (["a.jpg", "000123.jpg"], 2),
        (["x/1.jpg", "y/1.jpg"], 2),
        (["x/0003.jpg", "y/3.jpg"], 2),
    ],
)
def test_results__count_pictures_unless_they_are_numbered(tmp_path: Path, names: list[str], expected: int) -> None:
    pictures = [Path(name) for name in names]
    first, second = _written(CocoResults(pictures, NAMES, None), pictures[1], tmp_path)
    assert first == {"image_id": expected, "category_id": 2, "bbox": [1.5, 2, 2.5, 6], "score": 0.75}
    assert (second["category_id"], second["bbox"]) == (1, [0, 0, 10, 10])


def test_results__take_the_ids_of_annotations(tmp_path: Path) -> None:
    said = {
        "images": [{"id": 70, "file_name": "deep/a.jpg"}],
        "categories": [{"id": 90, "name": "dog"}, {"id": 17, "name": "cat"}],
    }
    file = tmp_path / "said.json"
    file.write_text(json.dumps(said), encoding="utf-8")
    first, second = _written(CocoResults([Path("p/a.jpg")], NAMES, file), Path("p/a.jpg"), tmp_path)
    assert [first["image_id"], first["category_id"], second["category_id"]] == [70, 90, 17]


def _annotations(folder: Path, images: dict[int, str]) -> Path:
    said = {
        "images": [{"id": number, "file_name": name} for number, name in images.items()],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    file = folder / "said.json"
    file.write_text(json.dumps(said), encoding="utf-8")
    return file


def test_results__take_annotations_as_training_does(tmp_path: Path) -> None:
    file = _annotations(tmp_path, {11: "cam1\\1.jpg", 22: "cam2\\1.jpg"})
    file.write_text(file.read_text(encoding="utf-8"), encoding="utf-8-sig")
    picture = Path("cams/cam2/1.jpg")
    assert _written(CocoResults([picture], NAMES, file), picture, tmp_path)[0]["image_id"] == 22


@pytest.mark.parametrize(
    ("images", "pictures"),
    [
        ({11: "cam1/1.jpg", 22: "cam2/1.jpg"}, {"cams/cam1/1.jpg": 11, "cams/cam2/1.jpg": 22}),
        ({22: "old/cam2/1.jpg", 11: "old/cam1/1.jpg"}, {"cams/cam1/1.jpg": 11, "cams/cam2/1.jpg": 22}),
        ({1: "1.jpg", 2: "cam1/1.jpg"}, {"cam1/1.jpg": 2, "cam2/1.jpg": 1}),
        ({1: "1.jpg", 2: "b/cam2/1.jpg"}, {"a/cam2/1.jpg": 1}),
        ({1: "m1/1.jpg", 2: "1/1.jpg"}, {"cam1/1/1.jpg": 2}),
    ],
)
def test_results__know_pictures_of_one_name_by_their_folders(
    tmp_path: Path, images: dict[int, str], pictures: dict[str, int]
) -> None:
    paths = [Path(name) for name in pictures]
    results = CocoResults(paths, NAMES, _annotations(tmp_path, images))
    for path in paths:
        last = _written(results, path, tmp_path)[-1]
        assert last["image_id"] == pictures[path.as_posix()]


def test_results__know_pictures_by_the_folder_they_are_called_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cam1").mkdir()
    monkeypatch.chdir(tmp_path / "cam1")
    results = CocoResults([Path("1.jpg")], NAMES, _annotations(tmp_path, {11: "cam1/1.jpg", 22: "cam2/1.jpg"}))
    assert _written(results, Path("1.jpg"), tmp_path)[0]["image_id"] == 11


@pytest.mark.parametrize(
    ("images", "pictures", "message"),
    [
        (
            {11: "cam1/1.jpg", 22: "cam2/1.jpg"},
            ["cam3/1.jpg"],
            r"has two images that cam3/1\.jpg may be: cam1/1\.jpg \(id 11\) and cam2/1\.jpg \(id 22\); name",
        ),
        ({1: "1.jpg", 2: "1.jpg"}, ["1.jpg"], r"two images .*: 1\.jpg \(id 1\) and 1\.jpg \(id 2\)"),
        ({1: "1.jpg"}, ["cam1/1.jpg", "cam2/1.jpg"], r"one image, 1\.jpg \(id 1\), for both cam1/1\.jpg and cam2/1"),
    ],
)
def test_results__give_no_id_that_is_not_sure(
    tmp_path: Path, images: dict[int, str], pictures: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        CocoResults([Path(name) for name in pictures], NAMES, _annotations(tmp_path, images))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("[]", r"said\.json: results, not annotations; it must hold images and categories"),
        ("{", r"said\.json: not a JSON file that can be read"),
        ('{"images": [{"id": 1}], "categories": []}', "is no JSON file of COCO's: images need id and file_name"),
        ('{"images": [{"id": 1, "file_name": 7}], "categories": []}', "is no JSON file of COCO's: images need id"),
        ('{"images": [], "categories": [{"id": 1, "name": "cat"}]}', "no category 'dog'; it has cat"),
        (
            '{"images": [], "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}',
            "no image 'a.jpg'; give --data",
        ),
    ],
)
def test_results__say_what_is_wrong_with_annotations(tmp_path: Path, said: str, message: str) -> None:
    file = tmp_path / "said.json"
    file.write_text(said, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        CocoResults([Path("a.jpg")], NAMES, file)


def test_write_boxes__draws_and_says_what_was_found(tmp_path: Path) -> None:
    line = write_boxes(_result(), np.zeros((20, 30, 3), np.uint8), tmp_path, Path("deep/a.png"))
    assert line["objects"][0] == {"class": "dog", "score": 0.75, "box": [1.5, 2, 4, 8]}
    assert (tmp_path / line["overlay"]).is_file()
