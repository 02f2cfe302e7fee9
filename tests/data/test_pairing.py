from pathlib import Path

import pytest

from resvision.data.errors import DataError
from resvision.data.pairing import Folders, find_pairs


def _touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _keys(root: Path, images: str, masks: str) -> dict[str, tuple[str, str]]:
    pairs = find_pairs(root, "train", Folders(images, masks))
    return {p.key: (p.image.relative_to(root).as_posix(), p.mask.relative_to(root).as_posix()) for p in pairs}


def test_folders__are_paired_by_relative_path_without_the_ending(tmp_path: Path) -> None:
    _touch(tmp_path, "a/2.jpg", "a/town/1.JPG", "a/notes.txt", "a/.hidden.jpg", "b/2.png", "b/town/1.png")
    assert _keys(tmp_path, "a", "b") == {"2": ("a/2.jpg", "b/2.png"), "town/1": ("a/town/1.JPG", "b/town/1.png")}


def test_patterns__pair_by_what_the_star_stands_for(tmp_path: Path) -> None:
    _touch(tmp_path, "Image_01L.jpg", "Image_01L_1stHO.png", "Image_01L_2ndHO.png", "x/Image_09L.jpg")
    expected = {"01L": ("Image_01L.jpg", "Image_01L_1stHO.png")}
    assert _keys(tmp_path, "Image_*.jpg", "Image_*_1stHO.png") == expected


def test_patterns__and_folders_can_be_mixed(tmp_path: Path) -> None:
    _touch(tmp_path, "photos/a.jpg", "masks/a_mask.png")
    assert _keys(tmp_path, "photos", "masks/*_mask.png") == {"a": ("photos/a.jpg", "masks/a_mask.png")}


def test_links__are_followed_wherever_they_lead(tmp_path: Path) -> None:
    _touch(tmp_path, "disk/1.jpg", "root/b/1.png")
    (tmp_path / "root/a").symlink_to(tmp_path / "disk")
    assert _keys(tmp_path / "root", "a", "b") == {"1": ("a/1.jpg", "b/1.png")}


@pytest.mark.parametrize(
    "place", ["../a", "a/../../b", "/a", "..", "C:/a", "C:a", "\\a", "..\\a", "f" * 256, f"{'f' * 256}/*.jpg"]
)
def test_places__outside_the_root_are_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(ValueError, match=r"train\.images is '.*; name a folder below the root"):
        find_pairs(tmp_path, "train", Folders(place, "b"))


@pytest.mark.parametrize("place", ["*/a.jpg", "*_*.jpg"])
def test_patterns__with_a_star_elsewhere_are_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(ValueError, match="one `\\*` is allowed, in the name of the file"):
        find_pairs(tmp_path, "train", Folders(place, "b"))


def test_missing_folder__is_named_with_those_that_are_there(tmp_path: Path) -> None:
    _touch(tmp_path, "train/1.jpg", "trainannot/1.png")
    with pytest.raises(
        DataError, match=r"trian: there is no such folder; set train\.images to one of: train, trainannot$"
    ):
        find_pairs(tmp_path, "train", Folders("trian", "trainannot"))


@pytest.mark.parametrize("place", ["a", "a/*.jpg"])
def test_empty_folder__is_named(tmp_path: Path, place: str) -> None:
    _touch(tmp_path, "a/readme.txt")
    with pytest.raises(DataError, match=r"a(/\*\.jpg)?: there are no pictures \(\.bmp .*\); set train\.images$"):
        find_pairs(tmp_path, "train", Folders(place, "b"))


def test_pictures_without_a_mask__are_counted_and_the_first_three_named(tmp_path: Path) -> None:
    _touch(tmp_path, *(f"a/{n}.jpg" for n in range(6)), "b/0.png")
    message = r"a: 5 files have no mask in .*b: 1\.jpg, 2\.jpg, 3\.jpg, \.\.\.; add the masks or remove them$"
    with pytest.raises(DataError, match=message):
        find_pairs(tmp_path, "train", Folders("a", "b"))


def test_masks_without_a_picture__are_named(tmp_path: Path) -> None:
    _touch(tmp_path, "a/0.jpg", "b/0.png", "b/1.png")
    with pytest.raises(DataError, match=r"b: 1 file has no picture in .*a: 1\.png; add the pictures or remove them$"):
        find_pairs(tmp_path, "train", Folders("a", "b"))


def test_two_pictures_of_one_name__are_named(tmp_path: Path) -> None:
    _touch(tmp_path, "a/1.jpg", "a/1.png", "b/1.png")
    with pytest.raises(DataError, match=r"a/1\.png: 1\.jpg is a picture of the same name; remove one of them$"):
        find_pairs(tmp_path, "train", Folders("a", "b"))


def test_patterns__tell_pictures_and_masks_of_one_folder_apart(tmp_path: Path) -> None:
    _touch(tmp_path, "photos/a.png", "photos/a_mask.png", "photos/b.png", "photos/b_mask.png")
    expected = {name: (f"photos/{name}.png", f"photos/{name}_mask.png") for name in "ab"}
    assert _keys(tmp_path, "photos/*.png", "photos/*_mask.png") == expected
    assert _keys(tmp_path, "photos", "photos/*_mask.png") == expected
    _touch(tmp_path, "photos/c_mask.png")
    with pytest.raises(DataError, match=r"1 file has no picture in .*: c_mask\.png"):
        _keys(tmp_path, "photos/*.png", "photos/*_mask.png")


def test_pictures__that_are_all_masks_are_an_error(tmp_path: Path) -> None:
    _touch(tmp_path, "photos/a_mask.png")
    with pytest.raises(DataError, match=r"1 file has no picture in .*: a_mask\.png"):
        _keys(tmp_path, "photos", "photos/*_mask.png")
