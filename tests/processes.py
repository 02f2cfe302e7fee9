"""What becomes of other processes."""

from pathlib import Path

__all__ = ["has_ended"]


def has_ended(process: int) -> bool:
    """Return whether a process of Linux is gone, or only waits for its parent to hear of its end."""
    try:
        return "(zombie)" in Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return True
