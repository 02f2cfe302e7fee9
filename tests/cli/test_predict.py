"""Which files a prediction reads and writes."""

from pathlib import Path

import pytest

from resvision.cli.predict import _pictures


def _make(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_pictures__of_a_folder_keep_their_subfolders(tmp_path: Path) -> None:
    _make(tmp_path, "a.jpg", "deep/b.PNG", "notes.txt")
    assert _pictures(str(tmp_path)) == {tmp_path / "a.jpg": Path("a.png"), tmp_path / "deep/b.PNG": Path("deep/b.png")}


def test_pictures__that_are_hidden_are_none(tmp_path: Path) -> None:
    _make(tmp_path, "a.png", "._a.png", ".cache/b.png")
    assert list(_pictures(str(tmp_path))) == [tmp_path / "a.png"]


def test_pictures__that_predict_wrote_are_none_unless_it_is_them_that_are_asked_for(tmp_path: Path) -> None:
    written = ("predictions/1/predictions.jsonl", "predictions/1/overlays/a.png", "predictions/1/masks/deep/b.png")
    _make(tmp_path, "a.png", "predictions/mine.png", *written)
    assert list(_pictures(str(tmp_path))) == [tmp_path / "a.png", tmp_path / "predictions/mine.png"]
    assert len(_pictures(str(tmp_path / "predictions/1"))) == 2


def test_pictures__of_one_stem_keep_their_whole_names(tmp_path: Path) -> None:
    _make(tmp_path, "a.jpg", "a.png", "b.jpg")
    assert set(_pictures(str(tmp_path)).values()) == {Path("a.jpg.png"), Path("a.png.png"), Path("b.png")}


@pytest.mark.parametrize("names", [("a.jpg", "a.png", "a.jpg.jpg"), ("a.jpg", "A.png")])
def test_pictures__never_share_an_output(tmp_path: Path, names: tuple[str, ...]) -> None:
    _make(tmp_path, *names)
    assert list(_pictures(str(tmp_path)).values()) == [Path(f"{name}.png") for name in sorted(names)]


def test_pictures__of_a_glob_and_of_a_file(tmp_path: Path) -> None:
    _make(tmp_path, "x/a.jpg", "x/b.jpg", "x/c.png")
    assert list(_pictures(str(tmp_path / "x" / "*.jpg"))) == [tmp_path / "x/a.jpg", tmp_path / "x/b.jpg"]
    assert list(_pictures(str(tmp_path / "**" / "c.png"))) == [tmp_path / "x/c.png"]
    assert _pictures(str(tmp_path / "x/a.jpg")) == {tmp_path / "x/a.jpg": Path("a.png")}


@pytest.mark.parametrize("pattern", ["*/a.jpg", "**/*", "[xy]/*"])
def test_pictures__of_one_name_keep_their_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    _make(tmp_path, "x/a.jpg", "y/a.jpg")
    names = [Path("x/a.png"), Path("y/a.png")]
    assert list(_pictures(str(tmp_path / pattern)).values()) == names
    monkeypatch.chdir(tmp_path)
    assert list(_pictures(pattern).values()) == names
