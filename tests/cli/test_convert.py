from pathlib import Path

import pytest

from resvision.cli import main
from resvision.data.detection_convert import open_folder
from tests.data.box_folders import voc_xml, write_voc_set


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_voc_set(tmp_path / "voc")


def _convert(*words: str) -> int:
    return main(["convert", "--from", "voc", "--root", "voc", *words])


def test_convert__writes_a_new_folder_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    for number in ("1", "2"):
        assert _convert("--to", "coco") == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines == ["train: 3 pictures, 3 boxes", "2 classes: cat, dog", f"written to converted/{number}"]
        assert open_folder(Path("converted", number), "coco").read("train").labels.tolist() == [0, 1, 1]


def test_convert__says_what_was_mended_and_what_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    objects = [("cat", (1, 1, 5, 5)), ("cat", (7, 7, 7, 9))]
    text = voc_xml(objects, inside="<difficult>1</difficult>")
    Path("voc/Annotations/c.xml").write_text(text, encoding="utf-8")
    assert _convert("--to", "yolo", "--output", "new") == 0
    assert capsys.readouterr().out.splitlines() == [
        "train: 3 pictures, 4 boxes",
        "  boxes of no size dropped: 1, the first in voc/Annotations/c.xml, box 1",
        "  objects that were marked difficult, truncated or occluded, and no longer are: 1",
        "2 classes: cat, dog",
        "written to new",
    ]


def test_convert__overwrites_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert _convert("--to", "yolo", "--output", "voc") == 2
    assert capsys.readouterr().err == (
        "resvision convert: error: --output voc is not empty; name another folder, or leave --output out\n"
    )
    assert not Path("voc/data.yaml").exists()


def test_convert__with_data_that_is_wrong_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Path("voc/JPEGImages/b.png").unlink()
    assert _convert("--to", "coco") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("resvision convert: error: voc, train: 1 of 3 pictures are not in voc/JPEGImages: other.jpg")
    assert not Path("converted").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "voc"], "--from and --to are both voc; there is nothing to convert"),
        (["--to", "coco", "--root", "nowhere"], "nowhere: there is no such folder; set root to the folder of the data"),
    ],
)
def test_mistake__is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _convert(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"resvision convert: error: {message}")


def test_format__that_is_not_known_lists_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        _convert("--to", "csv")
    assert "invalid choice: 'csv' (choose from" in capsys.readouterr().err
