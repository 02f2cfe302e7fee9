import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resvision.data import CocoDetection
from resvision.data.detection_coco import CocoFolder, CocoSplit, write_coco
from resvision.data.detection_records import Annotations, Flag
from resvision.data.errors import DataError
from tests.data.box_folders import OBJECTS, coco_said, draw, write_coco_set


def _read(root: Path) -> Annotations:
    return CocoFolder(root, {}).read("train")


def _spoil(root: Path, *path: str | int, value: Any) -> Path:
    """Write the data set with one value changed."""
    said: Any = coco_said()
    inner = said
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return write_coco_set(root, said)


def test_read__gives_corners_and_classes_whatever_the_gaps_between_ids(tmp_path: Path) -> None:
    folder = CocoFolder(write_coco_set(tmp_path), {})
    assert (folder.class_names, folder.splits) == (("cat", "dog"), ("train",))
    found = folder.read("train")
    assert found.names == ("a.png", "b.png", "c.png")
    assert found.boxes.tolist() == [list(box) for objects in OBJECTS.values() for _, box in objects]
    assert found.labels.tolist() == [0, 1, 1]
    assert found.starts.tolist() == [0, 2, 3, 3]
    assert found.area.tolist() == [600, 465, 2400]
    assert found.sizes.tolist() == [[40, 60]] * 3
    assert found.repairs == ()


def test_read__agrees_with_another_reader_of_the_format(tmp_path: Path) -> None:
    faster_coco_eval = pytest.importorskip("faster_coco_eval")
    root = write_coco_set(tmp_path)
    found = _read(root)
    coco = faster_coco_eval.COCO(str(root / "annotations" / "train.json"))
    for index, name in enumerate(found.names):
        (image,) = (image for image in coco.imgs.values() if image["file_name"] == name)
        theirs = np.array([entry["bbox"] for entry in coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))])
        ours = found.boxes[found.of(index)]
        np.testing.assert_allclose(np.hstack([ours[:, :2], ours[:, 2:] - ours[:, :2]]), theirs.reshape(-1, 4))


@pytest.mark.parametrize("height", [40.0, 0, None])
def test_size__may_be_a_whole_number_of_any_kind_or_missing(height: float | None, tmp_path: Path) -> None:
    assert len(_read(_spoil(tmp_path, "images", 1, "height", value=height))) == 3


def test_most_objects__are_those_of_one_picture_without_its_crowds(tmp_path: Path) -> None:
    said = coco_said()
    data = CocoDetection(str(write_coco_set(tmp_path / "whole", said)), val_fraction=0.4)
    assert {data.build(split).source.most_objects() for split in ("train", "val")} == {2, 1}
    said["annotations"][0]["iscrowd"] = 1
    data = CocoDetection(str(write_coco_set(tmp_path / "crowd", said)), val_fraction=0.4)
    assert {data.build(split).source.most_objects() for split in ("train", "val")} == {1}


def test_crowds_and_areas__are_kept(tmp_path: Path) -> None:
    said = coco_said()
    said["annotations"][0] |= {"iscrowd": 1, "area": 77.5}
    said["annotations"][1] |= {"iscrowd": 1, "difficult": 1}
    said["annotations"][2] |= {"truncated": 1, "area": 0}
    said["annotations"].append({"image_id": 30.0, "category_id": 3.0, "bbox": [1, 1, 4, 5], "area": 10**400})
    found = _read(write_coco_set(tmp_path, said))
    assert found.flags.tolist() == [Flag.CROWD, Flag.DIFFICULT, Flag.TRUNCATED, 0]
    assert found.area.tolist() == [77.5, 465, 2400, 20]  # an area of nothing, or of more than all, is that of the box


@pytest.mark.parametrize(
    ("annotations", "pictures"),
    [
        ("annotations/instances_{}2017.json", "{}2017"),
        ("annotations/{}.json", "images"),
        ("{}/_annotations.coco.json", "{}"),
        ("{}.json", "images/{}"),
        ("instances_{}.json", "."),
    ],
)
def test_layout__is_found(annotations: str, pictures: str, tmp_path: Path) -> None:
    for split in ("train", "valid"):
        path = tmp_path / annotations.format(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(coco_said()), encoding="utf-8")
        for name in OBJECTS:
            draw(tmp_path / pictures.format(split) / f"{name}.png")
    (tmp_path / "annotations").mkdir(exist_ok=True)
    for other in ("captions_train2017.json", "person_keypoints_train2017.json"):
        (tmp_path / "annotations" / other).write_text("[]", encoding="utf-8")
    folder = CocoFolder(tmp_path, {})
    assert folder.splits == ("train", "val")
    assert folder.read("val").paths[0] == tmp_path / pictures.format("valid") / "a.png"


def test_layout__of_one_file_without_a_split_is_for_training(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(coco_said()), encoding="utf-8")
    for name in OBJECTS:
        draw(tmp_path / "images" / f"{name}.png")
    assert CocoFolder(tmp_path, {}).splits == ("train",)


def test_layout__can_be_named(tmp_path: Path) -> None:
    write_coco_set(tmp_path)
    (tmp_path / "annotations" / "train.json").rename(tmp_path / "boxes.json")
    (tmp_path / "images" / "train").rename(tmp_path / "photos")
    folder = CocoFolder(
        tmp_path, {"train": CocoSplit("boxes.json", "photos"), "val": CocoSplit("boxes.json", "photos")}
    )
    assert folder.read("train").names == folder.read("val").names


def test_layout__with_several_files_asks_for_one(tmp_path: Path) -> None:
    write_coco_set(tmp_path)
    (tmp_path / "train_small.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=r"several files may be those of train: annotations/train.json, train_small.js"):
        CocoFolder(tmp_path, {})
    assert CocoFolder(tmp_path, {"train": CocoSplit("annotations/train.json")}).splits == ("train",)


def test_category__that_only_groups_others_is_no_class(tmp_path: Path) -> None:
    said = coco_said()
    for entry in said["categories"]:
        entry["supercategory"] = "animals"
    said["categories"].insert(0, {"id": 0, "name": "animals", "supercategory": "none"})
    said["categories"].append({"id": 30, "name": "person", "supercategory": "person"})  # a class, as in COCO itself
    assert CocoFolder(write_coco_set(tmp_path, said), {}).class_names == ("cat", "dog", "person")


def test_val__takes_its_classes_by_name(tmp_path: Path) -> None:
    write_coco_set(tmp_path)
    said = coco_said()
    said["categories"] = [{"id": 17, "name": "cat"}, {"id": 3, "name": "dog"}]
    write_coco_set(tmp_path, said, "val")
    folder = CocoFolder(tmp_path, {})
    assert folder.read("train").labels.tolist() == [0, 1, 1]
    assert folder.read("val").labels.tolist() == [1, 0, 0]


def test_val__class_that_differs_by_case_is_an_error_that_suggests_the_other(tmp_path: Path) -> None:
    write_coco_set(tmp_path)
    said = coco_said()
    said["categories"][0]["name"] = "Dog"
    write_coco_set(tmp_path, said, "val")
    with pytest.raises(DataError, match=r"annotation 1: its category 'Dog' is no class .*; did you mean 'dog'\?$"):
        CocoFolder(tmp_path, {}).read("val")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            ("annotations", 1, "category_id"),
            0,
            r"annotation 1: category_id is 0; the categories of the file are 3 cat, 17",
        ),
        (("annotations", 1, "category_id"), "dog", r"annotation 1: no COCO annotations: category_id is 'dog'"),
        (("annotations", 2, "image_id"), 5, r"annotation 2: image_id is 5, and no image has this id"),
        (("annotations", 2, "image_id"), [5], r"annotation 2: no COCO annotations: image_id is \[5\]"),
        (
            ("annotations", 0, "bbox"),
            [1, 2, float("nan"), 4],
            r"annotation 0: the box is \[1, 2, nan, 4\]; its numbers mu",
        ),
        (("annotations", 0, "bbox"), [1, 2, float("inf"), 4], r"annotation 0: the box is .*inf.*must be finite"),
        (("annotations", 0, "bbox"), [1, 2, 3], r"annotation 0: the box is \[1, 2, 3\]; it is a list of four numbers"),
        (("annotations", 0, "bbox"), None, r"annotation 0: the box is None; it is a list of four numbers"),
        (("annotations", 0, "bbox"), "1234", r"annotation 0: the box is '1234'; it is a list of four numbers"),
        (("annotations", 0), 7, r"annotation 0: no COCO annotations: image_id is None"),
        (("images", 1, "id"), 10, r"image 1: the id 10 is there twice"),
        (("images", 1, "file_name"), "a.png", r"train.json, a.png: the picture a.png is listed twice"),
        (("images", 1, "file_name"), "../../secret.png", r"image 1: the file name '../../secret.png' is none below"),
        (("images", 1, "file_name"), "/etc/passwd", r"image 1: the file name '/etc/passwd' is none below"),
        (("images", 1, "file_name"), "..\\b.png", r"image 1: the file name .* is none below"),
        (("images", 1, "file_name"), f"b.png?{'f' * 300}", r"image 1: the file name 'b\.png\?ff.* is longer than"),
        (("images", 1, "file_name"), "x\0.png", r"image 1: the file name 'x\\x00.png' is none below"),
        (
            ("images", 1, "file_name"),
            "B.png",
            r"1 of 3 pictures are not in .*train: B.png; there is b.png, and the case of",
        ),
        (
            ("images", 1, "file_name"),
            "z.png",
            r"1 of 3 pictures are not in .*images/train: z.png; add the pictures, or",
        ),
        (
            ("images", 1, "width"),
            640,
            r"train.json, b.png: boxes for 640x40 pixels, but b.png has 60x40; correct the size",
        ),
        (("images", 1, "height"), 80.0, r"train.json, b.png: boxes for 60x80 pixels, but b.png has 60x40; correct the"),
        (("images", 1, "height"), "40", r"image 1: height is '40'; give a whole number of pixels, or leave it out$"),
        (("images", 1, "width"), 60.5, r"image 1: width is 60.5; give a whole number of pixels, or leave it out$"),
        (("images",), [], r"annotation 0: image_id is 10, and no image has this id"),
        (("categories", 0, "id"), 3, r"category 1: the id 3 or the name 'cat' is there twice"),
        (("categories", 0, "name"), "cat", r"category 1: the id 3 or the name 'cat' is there twice"),
        (("categories",), [], r"train.json: there are no categories"),
        (("categories",), {}, r"train.json: no COCO annotations: there is no list of categories"),
        (("annotations",), [], r"train.json: no object that counts in any of the 3 pictures; check the annotations"),
    ],
)
def test_bad_value__is_one_line_with_file_and_index(
    path: tuple[str | int, ...], value: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        _read(_spoil(tmp_path, *path, value=value))
    assert "\n" not in str(caught.value)
    assert "train.json" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a JSON file that can be read: Expecting value"),
        ("{", "not a JSON file that can be read"),
        ("[" * 100_000, "not a JSON file that can be read"),
        ("\x80", "not a JSON file that can be read"),
        ("[]", "results, not annotations; it must hold images, annotations and categories"),
        ("3", "no COCO annotations; it must hold images, annotations and categories"),
        ('{"shapes": []}', "no COCO annotations: there is no list of images"),
    ],
)
def test_file__that_is_no_coco_is_named(text: str, message: str, tmp_path: Path) -> None:
    write_coco_set(tmp_path)
    (tmp_path / "annotations" / "train.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=rf"train\.json: {message}") as caught:
        _read(tmp_path)
    assert "\n" not in str(caught.value)


def test_boxes__are_mended_and_counted(tmp_path: Path) -> None:
    said = coco_said()
    for box in ([5, 5, 0, 9], [5, 5, 9, -2], [70, 5, 9, 9], [-10, -10, 5, 5], [50, 30, 100, 100], [-5, 3, 20, 10]):
        said["annotations"].append({"image_id": 30, "category_id": 3, "bbox": box})
    found = _read(write_coco_set(tmp_path, said))
    assert found.boxes[found.of(2)].tolist() == [[50, 30, 60, 40], [0, 3, 15, 13]]
    where = f"{tmp_path}/annotations/train.json, c.png, box"
    assert found.repairs == (
        f"boxes of no size dropped: 2, the first in {where} 0",
        f"boxes outside their picture dropped: 2, the first in {where} 2",
        f"boxes clipped to their picture: 2, the first in {where} 4",
    )


def test_pictures__without_annotations_are_counted(tmp_path: Path) -> None:
    write_coco_set(tmp_path)
    draw(tmp_path / "images" / "train" / "d.png")
    (line,) = _read(tmp_path).repairs
    assert line == f"pictures left out that have no annotations: 1, the first in {tmp_path}/images/train/d.png"


def test_million_boxes__in_one_picture_are_refused(tmp_path: Path) -> None:
    said = coco_said()
    said["annotations"] += [{"image_id": 20, "category_id": 3, "bbox": [1, 1, 5, 5]}] * 1_000_000
    with pytest.raises(DataError, match=r"b\.png: 1,000,001 boxes in one picture, where at most 10,000 can be used"):
        _read(write_coco_set(tmp_path, said))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (CocoSplit("none.json"), r"none\.json: there is no such file; set val\.annotations"),
        (CocoSplit("../none.json"), r"val\.annotations: the file name '\.\./none\.json' is none below"),
        (CocoSplit("annotations/train.json", "none"), r"none: there is no such folder; set val\.images"),
        (CocoSplit("annotations/train.json", "/"), r"val\.images: the file name '/' is none below"),
    ],
)
def test_named__place_that_is_wrong_is_an_error(place: CocoSplit, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        CocoFolder(write_coco_set(tmp_path), {"val": place})


def test_root__without_annotations_says_how_to_name_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no JSON file of training pictures, such as annotations/train\.json"):
        CocoFolder(tmp_path, {})
    with pytest.raises(DataError, match="none: there is no such folder; set root"):
        CocoFolder(tmp_path / "none", {})


def test_write__is_read_back_and_by_others_too(tmp_path: Path) -> None:
    said = coco_said()
    said["annotations"][0] |= {"iscrowd": 1, "area": 77.5}
    said["annotations"][1] |= {"iscrowd": 1, "difficult": 1, "occluded": 1, "bbox": [30.07, 10.93, 20.11, 5.29]}
    found = _read(write_coco_set(tmp_path, said))
    write_coco(tmp_path / "annotations" / "train.json", ("cat", "dog"), found)
    again = _read(tmp_path)
    assert again.names == found.names
    for name in ("boxes", "labels", "flags", "area", "sizes", "starts"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name), name)
    written = json.loads((tmp_path / "annotations" / "train.json").read_text(encoding="utf-8"))
    assert written["annotations"][1]["bbox"] == [30.07, 10.93, 20.11, 5.29]
    assert [entry["iscrowd"] for entry in written["annotations"]] == [1, 1, 0]


def test_hidden_files__are_none_of_the_data_set(tmp_path: Path) -> None:
    root = write_coco_set(tmp_path)
    for name in ("annotations/._train.json", ".ipynb_checkpoints/train-checkpoint.json"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"\0\5\26\7")
    assert _read(root).names == ("a.png", "b.png", "c.png")
