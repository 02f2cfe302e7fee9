import multiprocessing
import os
import pickle
import stat
import struct
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile, ZipInfo

import pytest

from resvision.data.errors import DataError
from resvision.data.zipped import ZipArchive, ZipEntry


def _archive(path: Path, files: dict[str, bytes], method: int = ZIP_STORED) -> ZipArchive:
    with ZipFile(path, "w", method, compresslevel=1) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return ZipArchive(path)


def _patched(path: Path, change: Callable[[bytearray, int], None]) -> ZipArchive:
    """Change the record of the only entry in the central directory, which begins with PK 1 2."""
    data = bytearray(path.read_bytes())
    change(data, data.index(b"PK\x01\x02"))
    path.write_bytes(data)
    return ZipArchive(path)


def test_files__have_their_names_and_contents(tmp_path: Path) -> None:
    for method in (ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA):
        archive = _archive(tmp_path / "a.zip", {"b/1.png": b"one", "a/2.PNG": b"two", "list.txt": b""}, method)
        entries = archive.files({".png"})
        assert [str(entry) for entry in entries] == [f"{tmp_path}/a.zip/b/1.png", f"{tmp_path}/a.zip/a/2.PNG"]
        assert [entry.open("rb").read() for entry in entries] == [b"one", b"two"]


def test_files__leave_out_folders_and_what_is_hidden(tmp_path: Path) -> None:
    names = ("a/1.png", "a/.1.png", "__MACOSX/a/._1.png", ".cache/1.png", "b.png/")
    assert [entry.name for entry in _archive(tmp_path / "a.zip", dict.fromkeys(names, b"")).files({".png"})] == [
        "a/1.png"
    ]


def test_backslashes__of_windows_separate_folders(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "a.zip", {"a/1.png": b"one"})
    path = archive.path
    path.write_bytes(path.read_bytes().replace(b"a/1.png", b"a\\1.png"))
    (entry,) = ZipArchive(path).files({".png"})
    assert (entry.parts, entry.open("rb").read()) == (("a", "1.png"), b"one")


@pytest.mark.parametrize(
    "name", ["../1.png", "a/../../1.png", "/etc/1.png", "C:/1.png", "C:1.png", "\\\\host\\s\\1.png"]
)
def test_name__that_leads_out_of_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"1\.png: this entry leads out of its archive; pack it anew"):
        _archive(tmp_path / "a.zip", {name: b""}).files({".png"})


def test_link__is_refused(tmp_path: Path) -> None:
    info = ZipInfo("a/1.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="leads out of its archive"):
        ZipArchive(tmp_path / "a.zip").files({".png"})


def test_name__that_comes_twice_is_refused(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a/1.png", b"one")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a/1.png", b"two")
    with pytest.raises(DataError, match=r"a/1\.png: this name comes twice in the archive; pack it anew$"):
        ZipArchive(tmp_path / "a.zip").files({".png"})


def test_encrypted_entry__is_refused(tmp_path: Path) -> None:
    _archive(tmp_path / "a.zip", {"a/1.png": b"one"})

    def encrypt(data: bytearray, record: int) -> None:
        data[record + 8] |= 1

    with pytest.raises(DataError, match=r"a/1\.png: the entry is encrypted; pack the archive anew without a password$"):
        _patched(tmp_path / "a.zip", encrypt).files({".png"})


def test_entry__of_an_unknown_method_is_refused(tmp_path: Path) -> None:
    _archive(tmp_path / "a.zip", {"a/1.png": b"one"})

    def set_method(data: bytearray, record: int) -> None:
        data[record + 10] = 9  # Deflate64

    with pytest.raises(DataError, match="packed by method 9, which cannot be read; pack it as plain zip"):
        _patched(tmp_path / "a.zip", set_method).files({".png"})


def test_bomb__is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=1) as archive, archive.open("a/1.png", "w") as entry:
        for _ in range(520):
            entry.write(bytes(2**20))
    assert path.stat().st_size < 4 * 2**20
    with pytest.raises(DataError, match="545,259,520 bytes once unpacked, more than 536,870,912; no picture is as lar"):
        ZipArchive(path).files({".png"})


@pytest.mark.parametrize(("method", "said"), [(ZIP_DEFLATED, 1000), (ZIP_BZIP2, 100_000)])
def test_bomb__that_lies_about_its_size_grows_no_further_than_it_says(tmp_path: Path, method: int, said: int) -> None:
    grown = b"".join(bytes([value]) * 100 for value in os.urandom(160_000))
    _archive(tmp_path / "a.zip", {"a/1.png": grown}, method)

    def understate(data: bytearray, record: int) -> None:
        data[record + 24 : record + 28] = struct.pack("<I", said)

    (entry,) = _patched(tmp_path / "a.zip", understate).files({".png"})
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"a/1\.png: damaged within the archive; replace or remove it$"):
            entry.open("rb")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < len(grown) / 2


def test_damaged_contents__are_named(tmp_path: Path) -> None:
    path = _archive(tmp_path / "a.zip", {"a/1.png": b"one picture"}).path
    path.write_bytes(path.read_bytes().replace(b"one picture", b"two picture"))
    (entry,) = ZipArchive(path).files({".png"})
    with pytest.raises(DataError, match=r"a\.zip/a/1\.png: damaged within the archive; replace or remove it$"):
        entry.open("rb")


@pytest.mark.parametrize("method", [ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA])
def test_damaged_contents__of_every_method_are_named(tmp_path: Path, method: int) -> None:
    path = _archive(tmp_path / "a.zip", {"a/1.png": bytes(range(256)) * 4}, method).path
    data = bytearray(path.read_bytes())
    begin = data.index(b"a/1.png") + len("a/1.png") + 9  # after what LZMA says of itself
    data[begin : begin + 40] = b"\xff" * 40
    path.write_bytes(data)
    (entry,) = ZipArchive(path).files({".png"})
    with pytest.raises(DataError, match=r"a\.zip/a/1\.png: damaged within the archive; replace or remove it$"):
        entry.open("rb")


@pytest.mark.parametrize(
    ("start", "place", "value"),
    [
        (b"PK\x03\x04", 31, 0xFF),  # the name beside the contents, no longer UTF-8
        (b"PK\x01\x02", 8, 0x20),  # said to be a patch of another file
        (b"PK\x01\x02", 8, 0x40),  # said to be encrypted, in a way of its own
    ],
)
def test_damaged_record__of_an_entry_is_named(tmp_path: Path, start: bytes, place: int, value: int) -> None:
    path = _archive(tmp_path / "a.zip", {"\u00e4/1.png": b"one picture"}).path
    data = bytearray(path.read_bytes())
    data[data.index(start) + place] |= value
    path.write_bytes(data)
    (entry,) = ZipArchive(path).files({".png"})
    with pytest.raises(DataError, match=r"a\.zip/\u00e4/1\.png: damaged within the archive; replace or remove it$"):
        entry.open("rb")


def test_archive__that_goes_away_is_named(tmp_path: Path) -> None:
    path = _archive(tmp_path / "a.zip", {"1.png": b"one"}).path
    (entry,) = pickle.loads(pickle.dumps(ZipArchive(path).files({".png"})))
    path.unlink()
    with pytest.raises(DataError, match=r"a\.zip: there is no such file$"):
        entry.open("rb")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no archive", b"text"])
def test_file__that_is_no_archive_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.zip: not a zip archive, or damaged \(.*\); fetch or pack it anew$"):
        ZipArchive(tmp_path / "a.zip").files({".png"})


def test_file__that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.zip: there is no such file$"):
        ZipArchive(tmp_path / "a.zip").files({".png"})


def _read_often(entries: list[ZipEntry]) -> list[bytes]:
    return [entry.open("rb").read() for _ in range(20) for entry in entries]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes__read_at_once_each_by_its_own_handle(tmp_path: Path, method: str) -> None:
    files = {f"a/{number}.png": os.urandom(5000) for number in range(40)}
    entries = _archive(tmp_path / "a.zip", files, ZIP_DEFLATED).files({".png"})
    assert entries[0].open("rb").read() == files["a/0.png"]
    with multiprocessing.get_context(method).Pool(2) as pool:
        parts = pool.map_async(_read_often, [entries, entries])
        mine = _read_often(entries)
        assert [mine, *parts.get(timeout=60)] == [[*files.values()] * 20] * 3


def test_threads__share_a_handle(tmp_path: Path) -> None:
    files = {f"a/{number}.png": os.urandom(5000) for number in range(40)}
    entries = _archive(tmp_path / "a.zip", files, ZIP_DEFLATED).files({".png"})
    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(_read_often, [entries] * 4)] == [[*files.values()] * 20] * 4


def test_entries__share_their_archive_when_they_are_pickled(tmp_path: Path) -> None:
    entries = _archive(tmp_path / "a.zip", {"a/1.png": b"one", "a/2.png": b"two"}).files({".png"})
    one, two = pickle.loads(pickle.dumps(entries))
    assert one.archive is two.archive
    assert two.open("rb").read() == b"two"
