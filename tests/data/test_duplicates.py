from pathlib import Path
from zipfile import ZipFile

import pytest

from resvision.data import duplicates
from resvision.data.duplicates import find_duplicates
from resvision.data.zipped import ZipArchive


def _write(folder: Path, **files: str) -> list[Path]:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return sorted(folder.iterdir())


def test_files__of_the_same_contents_in_two_splits_are_found(tmp_path: Path) -> None:
    train = _write(tmp_path / "train", a="cat", b="dog", c="emu", d="cat", e="twice", f="twice")
    val = _write(tmp_path / "val", g="cat", h="fox", i="horse", j="twice alike")
    assert find_duplicates({"train": train, "val": val}) == [
        [("train", train[0]), ("train", train[3]), ("val", val[0])]
    ]


def test_files__in_archives_are_compared_too(tmp_path: Path) -> None:
    train = _write(tmp_path / "train", a="cat")
    with ZipFile(tmp_path / "val.zip", "w") as archive:
        archive.writestr("a.png", "cat")
        archive.writestr("b.png", "dog")
    val = ZipArchive(tmp_path / "val.zip").files({".png"})
    assert find_duplicates({"train": train, "val": val}) == [[("train", train[0]), ("val", val[0])]]


def test_files__that_cannot_be_read_are_left_to_the_reader(tmp_path: Path) -> None:
    train = _write(tmp_path / "train", a="cat")
    assert find_duplicates({"train": [*train, tmp_path / "none"], "val": [tmp_path / "nothing", tmp_path / "no"]}) == []


def test_files__that_differ_in_size_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "blake2b", None)
    train, val = _write(tmp_path / "train", a="cat", b="cat"), _write(tmp_path / "val", a="horse")
    assert find_duplicates({"train": train, "val": val}) == []


def test_files__that_differ_at_an_end_are_not_read_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = duplicates._hash

    def watched(file: Path) -> bytes:
        read.append(str(file))
        return whole(file)

    monkeypatch.setattr(duplicates, "_hash", watched)
    middle = 10_000 * "x"
    train = _write(tmp_path / "train", a=f"a{middle}a", b=f"b{middle}a", c=f"{middle}y{middle}")
    val = _write(tmp_path / "val", a=f"a{middle}b", b=f"b{middle}a", c=f"{middle}z{middle}")
    assert find_duplicates({"train": train, "val": val}) == [[("train", train[1]), ("val", val[1])]]
    assert sorted(read) == sorted(map(str, [*train[1:], *val[1:]]))
