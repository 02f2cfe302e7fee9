import os
from pathlib import Path
from typing import Any

import pytest

from resvision.data.annotation_files import box_of, first_few, inside, names_of_pictures, read_lines, read_small
from resvision.data.errors import DataError
from tests.data.box_folders import draw


def test_inside__takes_either_slash(tmp_path: Path) -> None:
    assert inside(tmp_path, "a\\b.png", "x") == ("a/b.png", tmp_path / "a" / "b.png")
    assert inside(tmp_path, "./a//b.png", "x") == ("a/b.png", tmp_path / "a" / "b.png")


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/", "../a", "a/../../b", "a\\..\\..\\b", "/etc/passwd", "a\0b", "C:/a", "c:a", "C:\\a", "\\a"],
)
def test_inside__refuses_what_leads_out(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^x: the file name .* is none below"):
        inside(tmp_path, name, "x")


@pytest.mark.parametrize("mark", ["a", "\u00e9", "\udce9"])
def test_inside__takes_names_as_long_as_the_disk_does(mark: str, tmp_path: Path) -> None:
    bytes_of_mark = len(os.fsencode(mark))
    for count in (255 // bytes_of_mark, 255 // bytes_of_mark + 1):
        name = mark * count
        try:
            (tmp_path / name).touch()
        except OSError:
            with pytest.raises(DataError, match=r"^x: the file name '.{76}\.\.\. is longer than that of any file"):
                inside(tmp_path, name, "x")
        else:
            assert inside(tmp_path, f"far/{name}", "x")[1].name == name


def test_inside__refuses_a_path_that_the_disk_does_not_take(tmp_path: Path) -> None:
    below = 4095 - len(os.fsencode(tmp_path)) - 1
    fits = ("a/" * below)[: below - 1] + "b"
    assert not inside(tmp_path, fits, "x")[1].exists()
    with pytest.raises(OSError, match="File name too long"):
        (tmp_path / f"{fits}b").exists()
    with pytest.raises(DataError, match="is longer than that of any file"):
        inside(tmp_path, f"{fits}b", "x")


def test_names_of_pictures__are_in_the_order_of_the_alphabet(tmp_path: Path) -> None:
    for name in ("a/b.png", "a-b.png"):
        draw(tmp_path / name)
    assert names_of_pictures(tmp_path) == ["a-b.png", "a/b.png"]


def test_read_small__stops_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 2**20)
    assert len(read_small(path, 2**20)) == 2**20
    path.write_bytes(b"x" * (2**20 + 1))
    with pytest.raises(DataError, match=r"a\.txt: more than 1 MiB of annotations for one picture"):
        read_small(path, 2**20)
    with pytest.raises(DataError, match=r"none\.txt: cannot be read: No such file"):
        read_small(tmp_path / "none.txt", 1)


def test_read_lines__leaves_out_empty_ones_and_names_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf one\r\n\r\n  \r\ntwo words \nthree")
    assert read_lines(path) == ["one", "two words", "three"]
    path.write_bytes(b"fl\xe4che")
    with pytest.raises(DataError, match=r"a\.txt: not a text file that can be read: .*; save it as UTF-8$"):
        read_lines(path)
    with pytest.raises(DataError, match=r"none\.txt: cannot be read: No such file"):
        read_lines(tmp_path / "none.txt")


@pytest.mark.parametrize(
    "values",
    [
        None,
        3,
        "12",
        "1234",
        {"1": 1, "2": 2, "3": 5, "4": 6},
        [1, 2, 3],
        [1, 2, 3, 4, 5],
        [1, 2, 3, "x"],
        [1, 2, 3, 10**400],
        [[1]] * 4,
    ],
)
def test_box_of__wants_four_numbers(values: Any) -> None:
    with pytest.raises(DataError, match=r"^x: the box is .*; it is a list of four numbers$") as caught:
        box_of(values, "x")
    assert len(str(caught.value)) < 130


def test_box_of__takes_numbers_as_text() -> None:
    assert box_of(["1", " 2.5 ", 3, 4.0], "x") == (1, 2.5, 3, 4)


def test_first_few__counts_no_further_than_a_line() -> None:
    assert first_few(["a", "b", "c"]) == "a, b, c"
    assert first_few(["a", "b", "c", "d"]) == "a, b, c, ..."
