from pathlib import Path

from resvision.data.listing import find_pictures, visible_files


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_find_pictures__looks_below_and_leaves_out_what_is_hidden(tmp_path: Path) -> None:
    folder = tmp_path / ".data"  # What lies above is not asked.
    _touch(folder, "b.png", "a/c.PNG", "a-b.jpg", "._b.png", ".cache/d.png", "a/.cache/d.png", "e.png/f.jpg", "g.txt")
    assert find_pictures(folder) == [Path("a/c.PNG"), Path("a-b.jpg"), Path("b.png"), Path("e.png/f.jpg")]


def test_visible_files__takes_the_endings_that_are_asked_for(tmp_path: Path) -> None:
    _touch(tmp_path, "a.xml", "b/c.XML", "._a.xml", "d.png")
    assert visible_files(tmp_path, {".xml"}) == [Path("a.xml"), Path("b/c.XML")]


def test_visible_files__of_no_folder_are_none(tmp_path: Path) -> None:
    assert visible_files(tmp_path / "none", {".xml"}) == []


def test_visible_files__are_those_and_in_the_order_of_a_walk_by_hand(tmp_path: Path) -> None:
    for name in ("b/c/d.jpg", "b/c.jpg", "b-c.jpg", "a/b.txt/x.JPG", "B/z.jpg", ".git/a.jpg", "b/.h.jpg", "b/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "b-c.jpg")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nothing.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "folder.jpg").symlink_to(tmp_path / "b")
    walked = [
        path.relative_to(tmp_path)
        for path in tmp_path.rglob("*")
        if path.is_file() and path.suffix.lower() == ".jpg" and "/." not in f"/{path.relative_to(tmp_path)}"
    ]
    found = visible_files(tmp_path, {".jpg"})
    assert found == sorted(walked)
    assert len(found) == 6
