"""Names of files that come from elsewhere."""

import re
from pathlib import Path
from typing import Final

__all__ = ["is_too_long", "leads_out"]

#: A name that begins at the root of a drive or a computer.
_ANCHOR: Final = re.compile(r"[a-zA-Z]:|[/\\]")
#: Most bytes that the usual systems take for a name, and for a path.
_NAME_BYTES, _PATH_BYTES = 255, 4095


def leads_out(name: str) -> bool:
    """Return whether a name leads out of what it is relative to, on Windows at least."""
    return _ANCHOR.match(name) is not None or ".." in name.replace("\\", "/").split("/")


def is_too_long(path: Path) -> bool:
    """Return whether no file can have a path: where they are asked for it, systems raise an error of their own."""
    whole = path.as_posix().encode(errors="replace")  # what is not UTF-8 stands for a byte each
    return len(whole) > _PATH_BYTES or max(map(len, whole.split(b"/"))) > _NAME_BYTES
