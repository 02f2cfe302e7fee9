import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from resvision.data.detection_records import Annotations, Flag
from resvision.data.detection_voc import VocFolder, write_voc
from resvision.data.errors import DataError
from resvision.data.splits import Split
from tests.data.box_folders import OBJECTS, draw, voc_xml, write_voc_set
from tests.shared_data import shared_data


def _read(root: Path) -> Annotations:
    return VocFolder(root, {}).read("train")


def _spoil(root: Path, name: str, text: str) -> Path:
    write_voc_set(root)
    (root / "Annotations" / f"{name}.xml").write_text(text, encoding="utf-8")
    return root


def test_read__gives_corners_as_they_stand(tmp_path: Path) -> None:
    folder = VocFolder(write_voc_set(tmp_path), {})
    assert (folder.class_names, folder.splits) == (("cat", "dog"), ("train",))
    found = folder.read("train")
    assert found.names == ("a.png", "b.png", "c.png")
    assert found.boxes.tolist() == [list(box) for objects in OBJECTS.values() for _, box in objects]
    assert found.labels.tolist() == [0, 1, 1]
    assert found.starts.tolist() == [0, 2, 3, 3]
    assert found.repairs == ()


def test_bccd__has_the_published_objects_but_two_of_no_size() -> None:
    folder = VocFolder(shared_data("bccd"), {})
    assert folder.class_names == ("Platelets", "RBC", "WBC")
    found = {split: folder.read(split) for split in folder.splits}
    assert {split: len(part) for split, part in found.items()} == {"train": 205, "val": 87, "test": 72}
    counts = Counter(label for part in found.values() for label in part.labels.tolist())
    assert counts == {0: 361, 1: 4155 - 2, 2: 372}
    assert [part.repairs[0].split(",")[0] for part in found.values() if part.repairs] == [
        "boxes of no size dropped: 1",
        "boxes of no size dropped: 1",
    ]


def test_bccd__boxes_are_those_of_another_parser() -> None:
    root = shared_data("bccd")
    found = VocFolder(root, {}).read("test")
    for index, name in enumerate(found.names):
        tree = ET.parse(root / "Annotations" / f"{Path(name).stem}.xml")
        boxes = [
            [float(box.findtext(corner, "")) for corner in ("xmin", "ymin", "xmax", "ymax")]
            for box in tree.iter("bndbox")
        ]
        np.testing.assert_array_equal(found.boxes[found.of(index)], boxes)


def test_difficult__is_told_apart(tmp_path: Path) -> None:
    text = voc_xml(OBJECTS["b"], inside="<difficult>1</difficult>")
    assert _read(_spoil(tmp_path, "b", text)).flags.tolist() == [0, 0, Flag.DIFFICULT]


def test_lists__choose_the_splits(tmp_path: Path) -> None:
    lists = write_voc_set(tmp_path) / "ImageSets" / "Main"
    (lists / "train.txt").write_text("a\n", encoding="utf-8")
    (lists / "val.txt").write_text("b.png\n\n", encoding="utf-8")
    (lists / "trainval.txt").write_text("a\nb\n", encoding="utf-8")
    (lists / "cat_train.txt").write_text("a  1\nb -1\n", encoding="utf-8")
    folder = VocFolder(tmp_path, {})
    assert folder.splits == ("train", "val")
    assert (folder.read("train").names, folder.read("val").names) == (("a.png",), ("b.png",))
    named = VocFolder(tmp_path, {"train": "trainval"})
    assert named.splits == ("train",)  # `val` is a part of what was named
    assert named.read("train").names == ("a.png", "b.png")
    assert VocFolder(tmp_path, {"train": "trainval", "val": "val"}).splits == ("train", "val")


def test_trainval__is_for_training_where_there_is_no_train(tmp_path: Path) -> None:
    lists = write_voc_set(tmp_path) / "ImageSets" / "Main"
    (lists / "train.txt").rename(lists / "trainval.txt")
    assert len(_read(tmp_path)) == 3


def test_list__that_repeats_a_picture_is_read_once_and_counted(tmp_path: Path) -> None:
    lists = write_voc_set(tmp_path) / "ImageSets" / "Main"
    (lists / "train.txt").write_text("a\nb\na\nc\na\n", encoding="utf-8")
    found = _read(tmp_path)
    assert found.names == ("a.png", "b.png", "c.png")
    assert found.repairs == (f"pictures listed twice, taken once: 2, the first in {lists}/train.txt, a",)


@pytest.mark.parametrize("layout", ["two folders", "together", "a folder for each split"])
def test_without_lists__folders_are_searched(layout: str, tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    for path in (
        tmp_path / "ImageSets" / "Main" / "train.txt",
        tmp_path / "ImageSets" / "Main",
        tmp_path / "ImageSets",
    ):
        path.unlink() if path.is_file() else path.rmdir()
    splits: tuple[Split, ...] = ("train",)
    if layout != "two folders":
        splits = ("train", "val") if layout == "a folder for each split" else ("train",)
        for folder in [tmp_path / name for name in ("train", "valid")[: len(splits)]]:
            folder.mkdir()
            for path in (*(tmp_path / "Annotations").iterdir(), *(tmp_path / "JPEGImages").iterdir()):
                (folder / path.name).write_bytes(path.read_bytes())
        for folder in (tmp_path / "Annotations", tmp_path / "JPEGImages"):
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
    if layout == "together":
        for path in (tmp_path / "train").iterdir():
            path.rename(tmp_path / path.name)
        (tmp_path / "train").rmdir()
    found = VocFolder(tmp_path, {})
    assert found.splits == splits
    assert found.read(splits[-1]).names == ("a.png", "b.png", "c.png")


@pytest.mark.parametrize("listed", [True, False])
def test_xml__may_end_in_capitals(listed: bool, tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    for path in (tmp_path / "Annotations").iterdir():
        path.rename(path.with_suffix(".XML"))
    if not listed:
        (tmp_path / "ImageSets" / "Main" / "train.txt").unlink()
    found = _read(tmp_path)
    assert (found.names, found.labels.tolist()) == (("a.png", "b.png", "c.png"), [0, 1, 1])


def test_classes__come_from_a_file_or_an_argument_and_keep_their_order(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    assert VocFolder(tmp_path, {}, ["dog", "cat", "cow"]).read("train").labels.tolist() == [1, 0, 0]
    (tmp_path / "classes.txt").write_text("dog\n\ncat\n", encoding="utf-8")
    assert VocFolder(tmp_path, {}).class_names == ("dog", "cat")


def test_classes__that_differ_by_case_are_an_error_unless_they_are_named(tmp_path: Path) -> None:
    _spoil(tmp_path, "b", voc_xml([("Dog", (1, 2, 3, 4))]))
    with pytest.raises(DataError, match=r"a\.xml: the class 'dog' is 'Dog' in b\.xml; write both alike, or name"):
        VocFolder(tmp_path, {})
    with pytest.raises(DataError, match=r"b\.xml: object 0: there is no class 'Dog'; did you mean 'dog'\?$"):
        VocFolder(tmp_path, {}, ["cat", "dog"]).read("train")
    assert VocFolder(tmp_path, {}, ["cat", "dog", "Dog"]).read("train").labels.tolist() == [0, 1, 2]


def test_class__that_is_not_known_lists_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.xml: object 1: there is no class 'dog'; the classes are cat, horse$"):
        VocFolder(write_voc_set(tmp_path), {}, ["cat", "horse"]).read("train")


def test_boxes__are_mended_and_counted(tmp_path: Path) -> None:
    boxes = [(5, 5, 5, 9), (20, 30, 10, 25), (70, 5, 80, 9), (-4, 3, 20, 50)]
    found = _read(_spoil(tmp_path, "c", voc_xml([("cat", box) for box in boxes])))
    assert found.boxes[found.of(2)].tolist() == [[10, 25, 20, 30], [0, 3, 20, 40]]
    xml = tmp_path / "Annotations" / "c.xml"
    assert found.repairs == (
        f"boxes with swapped corners put in order: 1, the first in {xml}: object 1",
        f"boxes of no size dropped: 1, the first in {xml}, box 0",
        f"boxes outside their picture dropped: 1, the first in {xml}, box 2",
        f"boxes clipped to their picture: 1, the first in {xml}, box 3",
    )


def test_picture__that_is_missing_is_named_by_what_the_xml_says(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    (tmp_path / "JPEGImages" / "b.png").unlink()
    with pytest.raises(
        DataError, match=r"train: 1 of 3 pictures are not in .*JPEGImages: other\.jpg; add the pictures"
    ):
        _read(tmp_path)
    draw(tmp_path / "JPEGImages" / "Other.jpg")
    with pytest.raises(DataError, match=r"other\.jpg; there is Other\.jpg, and the case of letters counts$"):
        _read(tmp_path)
    (tmp_path / "JPEGImages" / "Other.jpg").rename(tmp_path / "JPEGImages" / "other.jpg")
    assert _read(tmp_path).names == ("a.png", "other.jpg", "c.png")


def test_file_name__that_climbs_out_is_refused(tmp_path: Path) -> None:
    _spoil(tmp_path, "b", voc_xml(OBJECTS["b"]).replace("other.jpg", "../../secret.jpg"))
    (tmp_path / "JPEGImages" / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.xml: the file name '\.\./\.\./secret\.jpg' is none below"):
        _read(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("../../etc/passwd", r"train\.txt: entry 3: the file name '\.\./\.\./etc/passwd' is none below"),
        ("/etc/passwd", r"train\.txt: entry 3: the file name '/etc/passwd' is none below"),
        ("f" * 253, r"train\.txt: entry 3: the file name 'ffff.* is longer than that of any file; give the one below"),
        ("d", r"train\.txt: 1 of 4 pictures have no XML file in .*Annotations: d; add the files"),
    ],
)
def test_list__entry_that_is_wrong_is_an_error(line: str, message: str, tmp_path: Path) -> None:
    path = write_voc_set(tmp_path) / "ImageSets" / "Main" / "train.txt"
    path.write_text("a\nb\nc\n" + line, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        VocFolder(tmp_path, {})


def test_list__names_pictures_with_their_ending_or_without(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    for folder, ending in (("Annotations", "xml"), ("JPEGImages", "png")):
        (tmp_path / folder / f"b.{ending}").rename(tmp_path / folder / f"b.jpg.{ending}")
    for line in ("b.jpg", "b.jpg.png"):
        (tmp_path / "ImageSets" / "Main" / "train.txt").write_text(f"a.png\n{line}\nc", encoding="utf-8")
        assert _read(tmp_path).names == ("a.png", "b.jpg.png", "c.png")


def test_pictures__without_a_list_are_counted(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    draw(tmp_path / "JPEGImages" / "d.png")
    (line,) = _read(tmp_path).repairs
    assert line == f"pictures left out that have no annotations: 1, the first in {tmp_path}/JPEGImages/d.png"


def test_picture__of_two_kinds_is_an_error(tmp_path: Path) -> None:
    draw(write_voc_set(tmp_path) / "JPEGImages" / "a.jpg")
    with pytest.raises(DataError, match=r"a\.xml: both a\.jpg and a\.png may be its picture; remove one of them"):
        _read(tmp_path)


def test_picture__of_another_size_is_an_error(tmp_path: Path) -> None:
    draw(write_voc_set(tmp_path) / "JPEGImages" / "b.png", (60, 40))
    with pytest.raises(DataError, match=r"b\.xml: boxes for 60x40 pixels, but b\.png has 40x60 \(upright, as its EXIF"):
        _read(tmp_path)


def test_no_object_that_counts__is_an_error(tmp_path: Path) -> None:
    write_voc_set(tmp_path)
    for name in OBJECTS:
        text = voc_xml(OBJECTS[name], inside="<difficult>1</difficult>")
        (tmp_path / "Annotations" / f"{name}.xml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"train: no object that counts in any of the 3 pictures"):
        _read(tmp_path)
    for name in OBJECTS:
        (tmp_path / "Annotations" / f"{name}.xml").write_text(voc_xml([]), encoding="utf-8")
    with pytest.raises(DataError, match="there is no object in any XML file"):
        _read(tmp_path)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"train": "nothing"}, r"nothing\.txt: there is no such list; set train to one of: train"),
        ({"val": "../../x"}, r"val: the file name '\.\./\.\./x\.txt' is none below"),
    ],
)
def test_named__list_that_is_not_there_is_an_error(named: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        VocFolder(write_voc_set(tmp_path), named)  # type: ignore[arg-type]


def test_root__without_xml_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are no XML files, in Annotations or beside the pictures; set root"):
        VocFolder(tmp_path, {})
    with pytest.raises(DataError, match="train is 'x', and there are no lists in ImageSets/Main"):
        VocFolder(tmp_path, {"train": "x"})
    with pytest.raises(DataError, match="none: there is no such folder; set root"):
        VocFolder(tmp_path / "none", {})


def test_write__is_read_back(tmp_path: Path) -> None:
    found = _read(write_voc_set(tmp_path / "here"))
    write_voc(tmp_path / "there", "train", ("dog", "cat"), found)
    for path in found.paths:
        draw(tmp_path / "there" / "JPEGImages" / path.name)
    folder = VocFolder(tmp_path / "there", {})
    assert folder.class_names == ("dog", "cat")
    again = folder.read("train")
    assert again.names == found.names
    np.testing.assert_array_equal(again.boxes, found.boxes)
    np.testing.assert_array_equal(again.labels, found.labels)
