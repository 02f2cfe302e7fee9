from pathlib import Path

import pytest

from resvision.data.detection_records import Flag
from resvision.data.errors import DataError
from resvision.data.voc_xml import VocObject, VocPicture, parse_xml, read_annotation, write_annotation
from tests.data.box_folders import voc_xml
from tests.shared_data import shared_data

_BOX = ("cat", (1, 2, 30, 20))


def _file(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "a.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_read__gives_what_a_person_sees_in_the_file() -> None:
    picture = read_annotation(shared_data("bccd", "Annotations", "BloodImage_00000.xml"))
    assert (picture.file_name, picture.size, len(picture.objects)) == ("BloodImage_00000.jpg", (480, 640), 20)
    assert picture.objects[0] == VocObject("WBC", (260, 177, 491, 376), 0, None)
    assert picture.objects[5] == VocObject("RBC", (555, 356, 640, 455), Flag.TRUNCATED, None)


def test_read__takes_pascal_s_own_files_to_count_from_1(tmp_path: Path) -> None:
    source = "<source><database>The VOC2007 Database</database><annotation>PASCAL VOC2007</annotation></source>"
    text = voc_xml([_BOX]).replace("<filename>", f"{source}<filename>")
    # The first pixel is 1 and the last one belongs to the object: pixels 1 to 30 reach from 0 to 30.
    assert read_annotation(_file(tmp_path, text)).objects[0].box == (0, 1, 30, 20)
    assert read_annotation(_file(tmp_path, voc_xml([_BOX]))).objects[0].box == (1, 2, 30, 20)


def test_read__knows_marks_and_ignores_the_parts_of_an_object(tmp_path: Path) -> None:
    marks = "<difficult>1</difficult><truncated> 1 </truncated><occluded>0</occluded><pose>Left</pose>"
    part = "<part><name>head</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>6</xmax><ymax>6</ymax></bndbox></part>"
    picture = read_annotation(_file(tmp_path, voc_xml([_BOX], inside=marks + part)))
    assert picture.objects == (VocObject("cat", (1, 2, 30, 20), Flag.DIFFICULT | Flag.TRUNCATED, None),)


@pytest.mark.parametrize(
    "size", ["<size><width>0</width></size>", "", "<size><width>x</width><height>4</height></size>"]
)
def test_read__takes_a_size_that_says_nothing_as_none(size: str, tmp_path: Path) -> None:
    assert read_annotation(_file(tmp_path, f"<annotation>{size}</annotation>")).size is None


_BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "before",
    [
        _BOMB,
        '<!DOCTYPE x [<!ENTITY b SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE x [<!ENTITY % b SYSTEM "http://localhost:9/x.dtd"> %b;]>',
        '<!DOCTYPE annotation SYSTEM "http://localhost:9/x.dtd">',
        "<!DOCTYPE annotation>",
    ],
)
def test_document_type__is_refused_before_anything_of_it_is_read(before: str, tmp_path: Path) -> None:
    path = _file(tmp_path, voc_xml([("&b;", (1, 2, 30, 20))], before=before))
    with pytest.raises(DataError, match=r"a\.xml: it has a document type, which may hold entities; remove the line"):
        parse_xml(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not an XML file that can be read: no element found"),
        (b"<annotation>", "not an XML file that can be read: no element found"),
        (b"\x89PNG\r\n", "not an XML file that can be read: not well-formed"),
        (b"<annotation>&b;</annotation>", "not an XML file that can be read: undefined entity"),
        (
            b"<?xml version='1.0' encoding='nonsense'?><annotation/>",
            "not an XML file that can be read: unknown encoding",
        ),
        (b"<annotation>\xff</annotation>", "not an XML file that can be read: not well-formed"),
        (b"<html/>", "not an annotation of Pascal VOC: it begins with <html>, not <annotation>"),
        (voc_xml([(" ", (1, 2, 3, 4))]), "object 0: it has no name"),
        (voc_xml([_BOX, ("cat", (1, "nan", 3, 4))]), "object 1: the box is .*; its numbers must be finite"),
        (voc_xml([_BOX, ("cat", (1, "1e999", 3, 4))]), "object 1: the box is .*; its numbers must be finite"),
        (voc_xml([("cat", (1, "two", 3, 4))]), "object 0: the box is .*'two'.*; it is a list of four numbers"),
        ("<annotation><object><name>cat</name></object></annotation>", "object 0: its bndbox lacks xmin"),
    ],
)
def test_bad_file__is_one_line_with_its_name_and_the_object(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"a\.xml: {message}") as caught:
        read_annotation(_file(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_latin_1__is_read_as_the_file_says(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>' + voc_xml([("Käfer", (1, 2, 3, 4))])
    assert read_annotation(_file(tmp_path, text.encode("latin-1"))).objects[0].name == "Käfer"


def test_large_file__is_not_parsed(tmp_path: Path) -> None:
    path = _file(tmp_path, voc_xml([_BOX] * 1000))
    with path.open("ab") as file:
        file.truncate(17 * 2**20)
    with pytest.raises(DataError, match="more than 16 MiB of annotations for one picture; check it"):
        read_annotation(path)


def test_deep_file__is_parsed_without_a_crash(tmp_path: Path) -> None:
    path = _file(tmp_path, b"<annotation>" + b"<a>" * 200_000 + b"</a>" * 200_000 + b"</annotation>")
    assert read_annotation(path).objects == ()


def test_write__is_read_back(tmp_path: Path) -> None:
    objects = (
        VocObject("cat & dog <", (1, 2.25, 30, 20), Flag.CROWD | Flag.TRUNCATED, 12.5),
        VocObject("Käfer", (0, 0, 10, 10), Flag.DIFFICULT | Flag.OCCLUDED, None),
    )
    path = tmp_path / "a.xml"
    write_annotation(path, VocPicture("a.png", (40, 60), objects))
    assert read_annotation(path) == VocPicture("a.png", (40, 60), objects)
    assert "<xmin>1</xmin>" in path.read_text(encoding="utf-8")


def test_write__leaves_out_an_area_that_is_the_box_s(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    write_annotation(path, VocPicture("a.png", None, (VocObject("cat", (0, 0, 10, 10), 0, 100.0),)))
    assert read_annotation(path).objects[0].area is None
