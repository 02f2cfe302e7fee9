from pathlib import Path

import numpy as np
import pytest

from resvision.data.detection_records import Annotations
from resvision.data.detection_yolo import YoloFolder, write_data_yaml, write_yolo
from resvision.data.errors import DataError
from tests.data.box_folders import OBJECTS, draw, write_yolo_set


def _read(root: Path) -> Annotations:
    return YoloFolder(root).read("train")


def _spoil(root: Path, text: str) -> Path:
    """Write the data set with another label file for the picture `b`."""
    write_yolo_set(root)
    (root / "labels" / "train" / "b.txt").write_text(text, encoding="utf-8")
    return root


def test_read__gives_pixels_of_each_picture(tmp_path: Path) -> None:
    folder = YoloFolder(write_yolo_set(tmp_path))
    assert (folder.class_names, folder.splits) == (("cat", "dog"), ("train",))
    found = folder.read("train")
    assert found.names == ("a.png", "b.png", "c.png")
    assert found.boxes.tolist() == [list(box) for objects in OBJECTS.values() for _, box in objects]
    assert found.labels.tolist() == [0, 1, 1]
    assert found.starts.tolist() == [0, 2, 3, 3]


def test_picture__without_a_label_file_is_kept_and_counted(tmp_path: Path) -> None:
    found = _read(write_yolo_set(tmp_path))
    assert found.repairs == (
        f"pictures without a label file, taken as without objects: 1, the first in {tmp_path}/images/train/c.png",
    )
    (tmp_path / "labels" / "train" / "c.txt").write_text("\n", encoding="utf-8")
    assert (len(_read(tmp_path)), _read(tmp_path).repairs) == (3, ())


def test_outline__becomes_its_box(tmp_path: Path) -> None:
    found = _read(_spoil(tmp_path, "1 0.1 0.5 0.5 0.25 0.4 1.0 0.2 0.75\n"))
    assert found.boxes[2].tolist() == [6, 10, 30, 40]


def test_boxes__are_mended_and_counted(tmp_path: Path) -> None:
    lines = ["0 0.5 0.5 0 0.1", "0 0.5 0.5 -0.5 0.1", "1 0.95 0.5 0.2 1", "1.0 1.0 1.0 0.5 0.5", "1 0 0 1e-9 1"]
    found = _read(_spoil(tmp_path, "\n".join(lines)))
    np.testing.assert_allclose(found.boxes[2:], [[51, 0, 60, 40], [45, 30, 60, 40]])
    where = f"{tmp_path}/labels/train/b.txt"
    assert found.repairs[1:] == (
        f"boxes of no size dropped: 3, the first in {where}, box 0",
        f"boxes clipped to their picture: 2, the first in {where}, box 2",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0.5 0.5 0.1 0.1\n2 0.5 0.5 0.1 0.1", "box 1: class 2; data.yaml names the classes from 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "box 0: class -1; data.yaml names the classes from 0 to 1"),
        ("0.5 0.5 0.5 0.1 0.1", "box 0: class 0.5; data.yaml names the classes from 0 to 1"),
        ("cat 0.5 0.5 0.1 0.1", "box 0: 'cat' is no number"),
        ("0 320 0.5 0.1 0.1", "box 0: 320 is no part of a picture, from 0 to 1; divide pixels by its width and height"),
        ("0 0.5 0.5 0.1 40", "box 0: 40 is no part of a picture"),
        ("0 -0.5 0.5 0.1 0.1", "box 0: -0.5 is no part of a picture"),
        ("0 0.5 nan 0.1 0.1", "box 0: 'nan' is no number"),
        ("0 0.5 0.5 inf 0.1", "box 0: 'inf' is no number"),
        ("0 0.1 0.1 0.5 0.5 0.2 3", "box 0: 3 is no part of a picture"),
        ("0 0.5 0.5 0.1", "box 0: 4 numbers; there are five: class, centre x and y, width, height"),
        ("0 0.5 0.5 0.1 0.1 0.9", "box 0: 6 numbers; there are five"),
        ("0", "box 0: 1 numbers; there are five"),
        ("0\x00 1", "box 0: '0.x00' is no number"),
    ],
)
def test_bad_line__is_one_line_with_file_and_index(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"labels/train/b\.txt: {message}") as caught:
        _read(_spoil(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_label_file__that_is_no_text_is_an_error(tmp_path: Path) -> None:
    write_yolo_set(tmp_path)
    (tmp_path / "labels" / "train" / "b.txt").write_bytes(b"\xff\xfe0")
    with pytest.raises(DataError, match=r"b\.txt: not a text file that can be read"):
        _read(tmp_path)


def test_label_files__without_a_picture_are_an_error(tmp_path: Path) -> None:
    labels = write_yolo_set(tmp_path) / "labels" / "train"
    (labels / "classes.txt").write_text("cat\ndog\n", encoding="utf-8")  # a labelling tool writes it there
    assert len(_read(tmp_path)) == 3
    (labels / "b.txt").rename(labels / "B.txt")
    with pytest.raises(
        DataError, match=r"labels/train: 1 label files have no picture in .*images/train: B; add the pic"
    ):
        _read(tmp_path)


def test_labels__that_are_nowhere_are_an_error_that_says_where_they_should_be(tmp_path: Path) -> None:
    (write_yolo_set(tmp_path) / "labels").rename(tmp_path / "texts")
    with pytest.raises(DataError, match=r"a\.png: neither it nor .* has a label file, here .*labels/train/a\.txt$"):
        _read(tmp_path)


def test_million_boxes__in_one_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b\.txt: 1,000,000 boxes in one picture, where at most 10,000 can be used"):
        _read(_spoil(tmp_path, "0 0.5 0.5 0.1 0.1\n" * 1_000_000))


@pytest.mark.parametrize(
    "train", ["../train/images", "..\\train\\images", "./train/images", "train/images/", ["train/images"]]
)
def test_layout__of_a_folder_for_each_split_is_found(train: object, tmp_path: Path) -> None:
    write_yolo_set(tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "images" / "train").rename(tmp_path / "train" / "images")
    (tmp_path / "labels" / "train").rename(tmp_path / "train" / "labels")
    (tmp_path / "data.yaml").write_text(f"train: {train}\nnc: 2\nnames: [cat, dog]\n", encoding="utf-8")
    assert _read(tmp_path).labels.tolist() == [0, 1, 1]


def test_layout__of_labels_beside_the_pictures_is_found(tmp_path: Path) -> None:
    write_yolo_set(tmp_path)
    (tmp_path / "images" / "train").rename(tmp_path / "all")
    for path in (tmp_path / "labels" / "train").iterdir():
        path.rename(tmp_path / "all" / path.name)
    (tmp_path / "all" / "README.txt").write_text("thanks\n", encoding="utf-8")
    (tmp_path / "data.yaml").write_text("path: /home/somebody/data\ntrain: all\nnames: {0: cat, 1: dog}\n")
    assert _read(tmp_path).labels.tolist() == [0, 1, 1]


def test_path__to_a_drive_of_windows_or_to_none_is_not_followed(tmp_path: Path) -> None:
    write_yolo_set(tmp_path)
    (tmp_path / "C:").mkdir()
    for path in ("C:", "f" * 256):
        said = f"path: '{path}'\ntrain: images/train\nnames: [cat, dog]\n"
        (tmp_path / "data.yaml").write_text(said, encoding="utf-8")
        assert len(_read(tmp_path)) == 3


def test_list__of_pictures_is_read_once_each(tmp_path: Path) -> None:
    write_yolo_set(tmp_path)
    (tmp_path / "train.txt").write_text("./images/train/b.png\nimages/train/a.png\nimages/train/b.png\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [cat, dog]\n", encoding="utf-8")
    found = _read(tmp_path)
    assert found.names == ("images/train/b.png", "images/train/a.png")
    assert found.repairs == (f"pictures listed twice, taken once: 1, the first in {tmp_path}/train.txt: entry 2",)
    (tmp_path / "train.txt").write_text("../secret.png\n")
    with pytest.raises(DataError, match=r"train\.txt: entry 0: the file name '\.\./secret\.png' is none below"):
        _read(tmp_path)
    (tmp_path / "train.txt").write_text("images/train/A.png\nimages/train/b.png")
    with pytest.raises(
        DataError, match=r"1 of 2 pictures are not in .*A\.png; there is a\.png, and the case of letters"
    ):
        _read(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it must name the classes"),
        ("- a", "it must name the classes"),
        ("a: [", "not a YAML file that can be read"),
        (
            "train: !!python/object/apply:os.system ['true']",
            "not a YAML file that can be read: could not determine a con",
        ),
        ("names: [cat, dog]", "there is no train; name the folder of the training pictures"),
        ("train: images/train", "names must list the classes, as in names: "),
        ("train: images/train\nnames: cat", "names must list the classes"),
        ("train: images/train\nnames: []", "names must list the classes"),
        ("train: images/train\nnames: {0: cat, 2: dog}", "names has no 1; its numbers go from 0 to 1 without a gap"),
        ("train: images/train\nnames: {1: cat, 2: dog}", "names has no 0; its numbers go from 0 to 1 without a gap"),
        ("train: images/train\nnames: [cat, dog]\nnc: 3", "nc is 3, and names has 2 classes; make them agree"),
        ("train: images/train\nnames: [cat, cat]", "names holds 'cat' twice"),
        (
            "train: images/train\nnames: [yes, no]",
            "names holds True, as YAML takes yes, no, on and off; put the name in q",
        ),
        ("train: images/train\nnames: {0: cat, 1: off}", "names holds False, as YAML takes yes"),
        ("train: images/train\nnames: [[cat], dog]", "names must list the classes"),
        ("train: 7\nnames: [cat]", "train is 7; name a folder of pictures"),
        ("train: ../../secret\nnames: [cat]", "train: the file name '../secret' is none below"),
        ("train: /etc\nnames: [cat]", "train: the file name '/etc' is none below"),
        ("train: C:/etc\nnames: [cat]", "train: the file name 'C:/etc' is none below"),
        (f"train: a?{'f' * 300}\nnames: [cat]", r"train: the file name 'a\?ffff.* is longer than that of any file"),
    ],
)
def test_data_yaml__that_is_wrong_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    (write_yolo_set(tmp_path) / "data.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"data\.yaml: {message}") as caught:
        YoloFolder(tmp_path)
    assert "\n" not in str(caught.value)


def test_data_yaml__that_names_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    (write_yolo_set(tmp_path) / "data.yaml").write_text("train: none\nnames: [cat]", encoding="utf-8")
    with pytest.raises(DataError, match=r"none: there is no such folder; .*train is 'none', below"):
        YoloFolder(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="none: there are no pictures"):
        YoloFolder(tmp_path).read("train")


def test_root__without_data_yaml_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.yaml: there is no such file; it names the classes and the folders"):
        YoloFolder(tmp_path)
    with pytest.raises(DataError, match="none: there is no such folder; set root"):
        YoloFolder(tmp_path / "none")


def test_write__is_read_back_to_the_millionth_of_a_pixel(tmp_path: Path) -> None:
    found = _read(_spoil(tmp_path / "here", "1 0.123456789 0.3 0.1111111 0.2\n"))
    root = tmp_path / "there"
    write_yolo(root, "train", found)
    write_data_yaml(root, ["train"], ("cat", "Käfer: dog"))
    for path in found.paths:
        draw(root / "images" / "train" / path.name)
    assert YoloFolder(root).class_names == ("cat", "Käfer: dog")
    again = _read(root)
    assert again.names == found.names
    np.testing.assert_array_equal(again.boxes, found.boxes)
    np.testing.assert_array_equal(again.labels, found.labels)


def test_pose__has_its_box_before_the_points(tmp_path: Path) -> None:
    _spoil(tmp_path, "1 0.5 0.5 0.2 0.5 0.1 0.9 2\n")
    with (tmp_path / "data.yaml").open("a", encoding="utf-8") as file:
        file.write("kpt_shape: [1, 3]\n")
    assert _read(tmp_path).boxes[2].tolist() == [24, 10, 36, 30]
