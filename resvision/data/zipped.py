"""Pictures within zip archives, read where they lie.

Nothing is unpacked, so no name of an entry can lead anywhere; names that try to, and entries that grow beyond any
picture, are refused all the same, when the archive is listed.
"""

import os
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, final
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from resvision.data.errors import DataError
from resvision.data.names import leads_out

__all__ = ["ZipArchive", "ZipEntry"]

#: Most bytes of an entry once it is unpacked, about as many as the largest picture that is decoded has uncompressed.
_MOST_BYTES: Final = 2**29
_METHODS: Final = (ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA)
#: Methods of which `ZipExtFile.read` unpacks no more bytes than it is asked for; of the others, all that so many packed
#: bytes hold, which is why they are read in small parts.
_BOUNDED: Final = (ZIP_STORED, ZIP_DEFLATED)
_PART_BYTES: Final = 4096
_ENCRYPTED: Final = 1  # Bit 0 of the flags: APPNOTE.TXT of PKWARE, section 4.4.4.


@final
class ZipArchive:
    """An archive that any number of processes read at once.

    Each process opens the file for itself: one that is inherited has a single position for all of them.

    Args:
        path: The archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: tuple[int, ZipFile] | None = None

    def files(self, suffixes: Collection[str]) -> list["ZipEntry"]:
        """Return the files in the order of the archive, after checking that each can be read safely.

        Args:
            suffixes: Endings, in lower case, of the files that are wanted.

        Raises:
            DataError: Not an archive, or an entry that is encrypted, has a name that climbs out of the archive or
                comes twice, grows too large, or is packed in a way that cannot be read.
        """
        endings = tuple(suffixes)
        entries: dict[tuple[str, ...], ZipEntry] = {}
        for info in self._file().infolist():
            entry = ZipEntry(self, info.filename)
            parts = entry.parts
            if not info.filename.lower().endswith(endings) or _is_litter(parts):
                continue
            _check(info, entry)
            if parts in entries:
                raise DataError(f"{entry}: this name comes twice in the archive; pack it anew")
            entries[parts] = entry
        return list(entries.values())

    def read(self, name: str) -> bytes:
        """Return the contents of an entry; no more is unpacked than the archive says that there is.

        Raises:
            DataError: The entry is damaged, holds more than it says, or is gone.
        """
        archive = self._file()
        try:
            info = archive.getinfo(name)
            with archive.open(info) as packed:
                if info.compress_type in _BOUNDED:
                    return packed.read(info.file_size)
                return b"".join(iter(partial(packed.read, _PART_BYTES), b""))
        except Exception as error:  # zipfile and what it unpacks with raise errors of many kinds for a broken entry.
            raise DataError(f"{self.path}/{name}: damaged within the archive; replace or remove it") from error

    def size(self, name: str) -> int:
        """Return the number of bytes of an entry once it is unpacked."""
        return self._file().getinfo(name).file_size

    def _file(self) -> ZipFile:
        process = os.getpid()
        if self._handle is None or self._handle[0] != process:
            try:
                self._handle = process, ZipFile(self.path)
            except FileNotFoundError:
                raise DataError(f"{self.path}: there is no such file") from None
            except OSError as error:
                raise DataError(f"{self.path}: cannot be read: {error.strerror or error}") from None
            except (BadZipFile, NotImplementedError, ValueError) as error:
                raise DataError(
                    f"{self.path}: not a zip archive, or damaged ({error}); fetch or pack it anew"
                ) from error
        return self._handle[1]

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_handle": None}


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """A file within an archive; it is opened and named like a `Path`.

    Attributes:
        archive: The archive that holds it.
        name: Its name there.
    """

    archive: ZipArchive
    name: str

    @property
    def parts(self) -> tuple[str, ...]:
        """Folders within the archive and the name in them; some archives of Windows have backslashes."""
        return tuple(part for part in self.name.replace("\\", "/").split("/") if part not in ("", "."))

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        """Return the contents as a file."""
        return BytesIO(self.archive.read(self.name))

    def __str__(self) -> str:
        return f"{self.archive.path}/{self.name}"


def _is_litter(parts: Sequence[str]) -> bool:
    """Return whether a file is hidden, or one of those that macOS adds to what it packs."""
    return "__MACOSX" in parts or any(part[0] == "." and part != ".." for part in parts)


def _check(info: ZipInfo, entry: ZipEntry) -> None:
    if leads_out(entry.name) or stat.S_ISLNK(info.external_attr >> 16):
        raise DataError(f"{entry}: this entry leads out of its archive; pack it anew, as plain files below one folder")
    if info.flag_bits & _ENCRYPTED:
        raise DataError(f"{entry}: the entry is encrypted; pack the archive anew without a password")
    if info.compress_type not in _METHODS:
        raise DataError(f"{entry}: packed by method {info.compress_type}, which cannot be read; pack it as plain zip")
    if info.file_size > _MOST_BYTES:
        raise DataError(
            f"{entry}: {info.file_size:,} bytes once unpacked, more than {_MOST_BYTES:,}; no picture is as large"
        )
