import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from resvision.data.detection_convert import (
    FORMATS,
    Format,
    check_class_names,
    losses,
    open_folder,
    target_names,
    write_folder,
)
from resvision.data.detection_records import Annotations, DetectionFolder, Flag
from resvision.data.errors import DataError
from resvision.data.splits import Split
from tests.data.box_folders import coco_said, draw, write_coco_set
from tests.shared_data import shared_data


def _all(folder: DetectionFolder) -> dict[Split, Annotations]:
    return {split: folder.read(split) for split in folder.splits}


def _by_name(found: Mapping[Split, Annotations]) -> Iterator[tuple[str, str, Annotations, slice]]:
    for split, annotations in found.items():
        for name, index in sorted((name, index) for index, name in enumerate(annotations.names)):
            yield split, name, annotations, annotations.of(index)


def _assert_equal(one: Mapping[Split, Annotations], other: Mapping[Split, Annotations]) -> None:
    for (split, name, ours, rows), (other_split, other_name, theirs, other_rows) in zip(
        _by_name(one), _by_name(other), strict=True
    ):
        assert (split, name) == (other_split, other_name)
        for key in ("boxes", "labels", "flags", "area"):
            np.testing.assert_array_equal(getattr(ours, key)[rows], getattr(theirs, key)[other_rows], f"{name} {key}")


@pytest.fixture
def source(tmp_path: Path) -> DetectionFolder:
    """Return a data set with all that the formats can say, its classes not in the order of the alphabet."""
    said = coco_said()
    said["categories"] = [{"id": 3, "name": "zebra"}, {"id": 17, "name": "dog"}]
    said["annotations"][0] |= {"iscrowd": 1, "area": 77.5}
    said["annotations"][1] |= {"bbox": [30.07, 10.93, 20.11, 5.29], "area": 20.11 * 5.29, "difficult": 1, "occluded": 1}
    said["annotations"][2] |= {"truncated": 1}
    write_coco_set(tmp_path / "source", said)
    write_coco_set(tmp_path / "source", said, "val")
    return open_folder(tmp_path / "source", "coco")


def test_coco_and_voc__hold_all_of_each_other(source: DetectionFolder, tmp_path: Path) -> None:
    found = _all(source)
    write_folder(tmp_path / "voc", "voc", source.class_names, found, link=False)
    voc = open_folder(tmp_path / "voc", "voc")
    assert (voc.class_names, voc.splits) == (("zebra", "dog"), ("train", "val"))
    write_folder(tmp_path / "coco", "coco", voc.class_names, _all(voc), link=False)
    coco = open_folder(tmp_path / "coco", "coco")
    assert coco.class_names == ("zebra", "dog")
    again = _all(coco)
    # The two splits have pictures of the same names, for which VOC has one folder.
    assert again["val"].names == ("val/a.png", "val/b.png", "val/c.png")
    assert again["val"].paths[0].read_bytes() == found["val"].paths[0].read_bytes()
    for split in ("train", "val"):
        for key in ("boxes", "labels", "flags", "area", "starts", "sizes"):
            np.testing.assert_array_equal(getattr(again[split], key), getattr(found[split], key), key)


def test_yolo__loses_what_it_has_no_words_for_and_says_so(source: DetectionFolder, tmp_path: Path) -> None:
    found = _all(source)
    assert losses(found["train"], "coco") == losses(found["train"], "voc") == []
    assert losses(found["train"], "yolo") == [
        "boxes around crowds, left out: 1",
        "objects that were marked difficult, truncated or occluded, and no longer are: 2",
    ]
    write_folder(tmp_path / "yolo", "yolo", source.class_names, found, link=False)
    yolo = open_folder(tmp_path / "yolo", "yolo")
    assert (yolo.class_names, yolo.splits) == (("zebra", "dog"), ("train", "val"))
    again = yolo.read("val")
    assert again.repairs == ()  # a picture without objects has an empty file
    np.testing.assert_array_equal(again.boxes, found["val"].boxes[found["val"].flags & Flag.CROWD == 0])


@pytest.mark.parametrize(("first", "second"), list(permutations(FORMATS, 2)))
def test_bccd__comes_back_from_every_format_as_it_was(first: Format, second: Format, tmp_path: Path) -> None:
    folder = open_folder(shared_data("bccd"), "voc")
    found = {split: annotations.subset(annotations.names[:12]) for split, annotations in _all(folder).items()}
    for number, form in enumerate((first, second, "voc")):
        root = tmp_path / str(number)
        write_folder(root, form, folder.class_names, found, link=True)
        folder = open_folder(root, form)
        assert folder.class_names == ("Platelets", "RBC", "WBC")
        found = _all(folder)
    original = {
        split: annotations.subset(annotations.names[:12])
        for split, annotations in _all(open_folder(shared_data("bccd"), "voc")).items()
    }
    if "yolo" in (first, second):  # has no mark for what is truncated
        for annotations in original.values():
            annotations.flags[:] = 0
    _assert_equal(original, found)


def test_pictures__are_copied_or_linked(source: DetectionFolder, tmp_path: Path) -> None:
    found = _all(source)
    for link in (False, True):
        root = tmp_path / str(link)
        write_folder(root, "yolo", source.class_names, found, link=link)
        path = root / "images" / "train" / "a.png"
        assert path.is_symlink() == link
        assert path.read_bytes() == found["train"].paths[0].read_bytes()


def test_names__that_two_pictures_of_a_split_would_share_are_an_error(tmp_path: Path) -> None:
    said = coco_said()
    said["images"][1]["file_name"] = "a.jpg"
    draw(tmp_path / "images" / "train" / "a.jpg")
    found = _all(open_folder(write_coco_set(tmp_path, said), "coco"))
    for form in ("voc", "yolo"):
        with pytest.raises(DataError, match=r"train: there are two pictures .*a with different endings; rename one"):
            target_names(found, form)


@pytest.mark.parametrize(
    "name", ["dog ", "", "dog\ncat", "dog\x0bcat", "dog\ud800", "dog\u2028cat", "\ufeffdog", "dog\uffff"]
)
def test_class_name__that_voc_would_not_give_back_is_refused(
    name: str, source: DetectionFolder, tmp_path: Path
) -> None:
    said = f"VOC cannot hold the class {name!r}: a name is one line of text, without blanks around it; rename the class"
    with pytest.raises(DataError, match=f"^{re.escape(said)}$"):
        write_folder(tmp_path / "voc", "voc", ("dog", name), _all(source), link=False)
    assert not (tmp_path / "voc").exists()
    check_class_names(("dog", name), "coco")


def test_class_name__of_several_words_and_other_letters_comes_back(source: DetectionFolder, tmp_path: Path) -> None:
    names = ("Käfer: <a & b>", "\u0645\u06cc\u200c\u062e")
    write_folder(tmp_path / "voc", "voc", names, _all(source), link=False)
    assert open_folder(tmp_path / "voc", "voc").class_names == names


@pytest.mark.parametrize(
    ("name", "refusing"),
    [
        ("photo.jpg.png", []),
        ("far/K\u00e4fer & <b>.png", []),
        ("a.jfif", ["yolo"]),
        ("noending", ["yolo"]),
        (".hidden.png", ["yolo"]),
        (".far/a.png", ["yolo"]),
        ("...png", ["voc", "yolo"]),
        (" lead.png", ["voc"]),
        ("trail .png", ["voc"]),
        ("two\nlines.png", ["voc"]),
        ("\u00a0x.png", ["voc"]),
        ("\ufeffx.png", ["voc"]),
        ("\x01.png", ["voc"]),
        (os.fsdecode(b"caf\xe9.png"), ["voc"]),
        ("far\\a.png", ["coco", "voc"]),
        ("C:a.png", ["coco", "voc"]),
    ],
)
def test_name__comes_back_or_is_refused_before_anything_is_written(
    name: str, refusing: list[Format], source: DetectionFolder, tmp_path: Path
) -> None:
    found = source.read("train")
    found = replace(found, names=(name, *found.names[1:]))
    for form in FORMATS:
        root = tmp_path / form
        if form in refusing:
            said = re.escape(f"train: {form.upper()} cannot hold the picture {name!r}: its name ")
            with pytest.raises(DataError, match=rf"^{said}.*; rename it$"):
                write_folder(root, form, source.class_names, {"train": found}, link=False)
            assert not root.exists()
        else:
            write_folder(root, form, source.class_names, {"train": found}, link=False)
            assert set(open_folder(root, form).read("train").names) == set(found.names)


def test_names__with_folders_are_kept(tmp_path: Path) -> None:
    said = coco_said()
    said["images"][1]["file_name"] = "far/b.png"
    draw(tmp_path / "images" / "train" / "far" / "b.png")
    folder = open_folder(write_coco_set(tmp_path, said), "coco")
    found = _all(folder)
    for form in FORMATS:
        write_folder(tmp_path / form, form, folder.class_names, found, link=False)
        assert "far/b.png" in open_folder(tmp_path / form, form).read("train").names


def test_yolo__gives_back_pictures_whose_folders_are_called_as_its_own(tmp_path: Path) -> None:
    said = coco_said()
    for image, place in zip(said["images"], ("images", "far/images/near", "labels"), strict=True):
        image["file_name"] = f"{place}/{image['file_name']}"
        draw(tmp_path / "coco" / "images" / "train" / image["file_name"])
    (tmp_path / "coco" / "annotations").mkdir()
    (tmp_path / "coco" / "annotations" / "train.json").write_text(json.dumps(said), encoding="utf-8")
    folder = open_folder(tmp_path / "coco", "coco")
    found = _all(folder)
    write_folder(tmp_path / "yolo", "yolo", folder.class_names, found, link=False)
    yolo = open_folder(tmp_path / "yolo", "yolo")
    assert yolo.read("train").repairs == ()  # every picture has its label file
    write_folder(tmp_path / "again", "coco", yolo.class_names, _all(yolo), link=False)
    _assert_equal(found, _all(open_folder(tmp_path / "again", "coco")))
