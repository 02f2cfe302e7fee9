"""Names of files that come from elsewhere."""

import re
from typing import Final

__all__ = ["leads_out"]

#: A name that begins at the root of a drive or a computer.
_ANCHOR: Final = re.compile(r"[a-zA-Z]:|[/\\]")


def leads_out(name: str) -> bool:
    """Return whether a name leads out of what it is relative to, on Windows at least."""
    return _ANCHOR.match(name) is not None or ".." in name.replace("\\", "/").split("/")
