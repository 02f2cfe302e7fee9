import re
from math import isfinite
from pathlib import Path

import pytest

from resvision.data.errors import DataError
from resvision.data.label_table import Columns, LabelTable, read_table

_PLAIN = Columns()


def _read(root: Path, text: str, columns: Columns = _PLAIN) -> LabelTable:
    (root / "labels.csv").write_text(text, encoding="utf-8")
    return read_table(root / "labels.csv", root, columns)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_rows__hold_what_the_cells_say(tmp_path: Path, delimiter: str, start: str) -> None:
    lines = ["path,label,split,group,weight,note", "a/1.jpg, cat ,Validation,anna,2.5,x", "a\\2.jpg,dog,,,0,"]
    table = _read(tmp_path, start + "\r\n".join(lines).replace(",", delimiter))
    one, two = table.rows
    assert table.kind == "one"
    assert (one.key, one.path, one.labels) == ("a/1.jpg", tmp_path / "a" / "1.jpg", ("cat",))
    assert (one.split, one.group, one.weight, one.where) == ("val", "anna", 2.5, f"{tmp_path}/labels.csv, line 2")
    assert (two.key, two.labels, two.split, two.group, two.weight) == ("a/2.jpg", ("dog",), None, None, 0.0)


def test_labels__of_one_picture_are_any_number(tmp_path: Path) -> None:
    table = _read(tmp_path, 'path,labels\n1.jpg,cat; dog\n2.jpg,\n3.jpg,"emu;"\n')
    assert table.kind == "many"
    assert [row.labels for row in table.rows] == [("cat", "dog"), (), ("emu",)]
    assert table.class_names() == ["cat", "dog", "emu"]


def test_columns__may_be_called_otherwise(tmp_path: Path) -> None:
    columns = Columns(path="Image Index", labels="Finding Labels", group="Patient ID", separator="|")
    table = _read(tmp_path, "Image Index,Finding Labels,Patient ID\n1.png,Mass|Edema,17\n", columns)
    assert [(row.key, row.labels, row.group) for row in table.rows] == [("1.png", ("Mass", "Edema"), "17")]


def test_class_names__that_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    assert _read(tmp_path, "path,label\n1.jpg,10\n2.jpg,9\n3.jpg,9\n").class_names() == ["9", "10"]


def test_class_names__that_are_one_number_are_in_the_order_of_the_alphabet(tmp_path: Path) -> None:
    long = "7" * 5000  # more digits than Python makes a whole number of
    names = ["0", "00", "000", "0000", "00000", "3", "\u0663", "10", "9007199254740993", long]
    lines = [f"{number}.jpg,{name}\n" for number, name in enumerate(reversed(names))]
    assert _read(tmp_path, "path,label\n" + "".join(lines)).class_names() == names


def test_weight__that_is_the_largest_adds_up_to_a_number(tmp_path: Path) -> None:
    table = _read(tmp_path, "path,label,weight\n1.jpg,cat,1e100\n")
    assert isfinite(table.rows[0].weight * 2.0**63)  # no list is longer


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no column 'path', only an empty line; set columns, as in columns: {path: file}"),
        ("file,label\n", "there is no column 'path', only file, label; set columns, as in columns: {path: file}"),
        (
            "path,kind\n",
            "there is no column 'label' or 'labels', only path, kind; set columns, as in columns: {label: k",
        ),
        ("path,label,labels\n", "both 'label' and 'labels' are columns; keep one of them"),
        ("path,label,label\n", "two columns are called 'label'; rename one"),
        ("path,label\n", "there is no picture in the table; add a line for each"),
        (
            "path,label\n1.jpg\n",
            ", line 2: not as many cells as there are columns; put a cell that holds a comma into qu",
        ),
        ("path,label\n1.jpg,cat,dog\n", ", line 2: not as many cells as there are columns"),
        ("path,label\n1.jpg,\n", ", line 2: the cell of column 'label' is empty; name the class of 1.jpg"),
        ("path,label\n,cat\n", ", line 2: the file name '' is none below"),
        ("path,label\n../1.jpg,cat\n", ", line 2: the file name '../1.jpg' is none below"),
        ("path,label\na/../../1.jpg,cat\n", "is none below"),
        ("path,label\n/etc/1.jpg,cat\n", "give it relative to that folder"),
        (f"path,label\n1.jpg?{'f' * 300},cat\n", ", line 2: the file name '1.jpg?ffff"),
        ("path,label\n1.jpg,cat\n2.jpg,cat\n./1.jpg,dog\n", ", line 4: 1.jpg is on line 2 too; keep one of them"),
        ("path,label,split\n1.jpg,cat,dev\n", ", line 2: the split is 'dev'; it is one of train, val, test"),
        ("path,label,split\n1.jpg,cat,my train\n", "the split is 'my train'"),
        ("path,label,weight\n1.jpg,cat,-1\n", ", line 2: the weight is '-1'; it is a number from 0 to 1e+100"),
        ("path,label,weight\n1.jpg,cat,1e308\n", ", line 2: the weight is '1e308'; it is a number from 0 to 1e+100"),
        ("path,label,weight\n1.jpg,cat,inf\n", "the weight is 'inf'"),
        ("path,label,weight\n1.jpg,cat,nan\n", "the weight is 'nan'"),
        ("path,label,weight\n1.jpg,cat,\n", "the weight is ''"),
        (
            "path,label,split,group\n1.jpg,cat,train,anna\n2.jpg,cat,val,anna\n",
            ", line 3: group anna is in val here and in train on line 2; a group belongs to one split",
        ),
        ("path,label,split,group\n1.jpg,cat,,anna\n2.jpg,cat,val,anna\n", "in val here and in no split on line 2"),
    ],
)
def test_table__that_is_wrong_is_one_line_that_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        _read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/labels.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", ["split", "group", "weight"])
def test_optional_column__that_is_asked_for_must_be_there(tmp_path: Path, setting: str) -> None:
    message = f"there is no column 'patient_idd', only path, label; set columns.{setting}"
    with pytest.raises(DataError, match=re.escape(f"labels.csv: {message}") + "$"):
        _read(tmp_path, "path,label\n1.jpg,cat\n", Columns(**{setting: "patient_idd"}))
    assert _read(tmp_path, "path,label\n1.jpg,cat\n", Columns(**{setting: setting})).rows[0].labels == ("cat",)


def test_file__that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: there is no such file; set file to the table of the data set$"):
        read_table(tmp_path / "none.csv", tmp_path, _PLAIN)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_table(tmp_path, tmp_path, _PLAIN)
    (tmp_path / "a.csv").write_bytes("path,label\n1.jpg,Käse\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.csv: not a CSV file in UTF-8 \(.*\); save it as one$"):
        read_table(tmp_path / "a.csv", tmp_path, _PLAIN)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_table__without_the_column_of_paths_names_all_that_there_are(mark: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(mark.join(["Filename", "Class"]) + "\n")
    with pytest.raises(DataError, match=r"only Filename, Class; set columns, as in columns: \{path: Filename\}"):
        read_table(tmp_path / "t.csv", tmp_path, Columns())
