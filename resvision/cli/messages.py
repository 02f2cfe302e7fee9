"""From an exception to the one or two lines that tell a person what to mend."""

import difflib
import re
from argparse import ArgumentError
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Explanation", "UsageError", "explain", "nearest", "some"]


class UsageError(ValueError):
    """What was typed, or what a config says, cannot be followed."""


@dataclass(frozen=True)
class Explanation:
    """What to print and the exit code to leave with."""

    text: str
    exit_code: int


# Exceptions by which the package and Python itself speak about input. Any other kind is most likely a fault in
# the program, and the person is told how to see more of it.
_ABOUT_INPUT = (ValueError, OSError, KeyError, TypeError, ImportError, ArgumentError)


def explain(error: Exception) -> Explanation:
    """Say in one or two lines what went wrong."""
    # A KeyError shows its message in quotes.
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    text = _own_words(message) or type(error).__name__
    if "operator torchvision::nms does not exist" in text:
        text = (
            "this torchvision was built for another torch (often a CPU-only torch beside the index's own "
            "torchvision); install both together with: pip install --force-reinstall torch torchvision"
        )
        return Explanation(text, 1)
    if "Expected more than 1 value per channel when training" in text:
        return Explanation(
            "batch norm needs several values for a channel: raise data.batch_size, or the size of the pictures", 2
        )
    # Each of Lightning's callbacks and schedules that watch a score has a kind of error and words of its own.
    if match := re.search(r"on metric `?([^`\s]+)`? which is not available|monitor='(.*?)'\)` could not find", text):
        watched = match[1] or match[2]
        scores = re.findall(r"[`']([^`']+/[^`']+)[`']", text[match.end() :])
        near = nearest(watched, scores, "")
        there_are = f"{near} There are" if near else "there are"
        return Explanation(f"there is no score {watched!r} to monitor; {there_are} {some(scores)}", 2)
    # A run whose loss is no number any more, or one of whose processes has died.
    if isinstance(error, FloatingPointError | ChildProcessError):
        return Explanation(text, 1)
    # Lightning's own kind for settings that do not go together.
    if isinstance(error, _ABOUT_INPUT) or type(error).__name__ == "MisconfigurationException":
        return Explanation(text, 2)
    return Explanation(f"{type(error).__name__}: {text}\n(--debug shows where this happened)", 1)


def _own_words(message: str) -> str:
    """Strip what a DataLoader's worker process wraps around the message of the exception it met."""
    if not message.startswith("Caught ") or "Traceback (most recent call last)" not in message:
        return message.strip()
    # The last unindented line of the worker's traceback, and what follows it, is `package.Error: message`.
    start = max(match.start() for match in re.finditer(r"^\S", message, flags=re.MULTILINE))
    return re.sub(r"^[\w.]+: ", "", message[start:].strip())


def some(names: Sequence[str], most: int = 12) -> str:
    """Return names in a row, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "none") + more


def nearest(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return a question that names the known word nearest to one, or something else where none is near."""
    known = list(known)
    # A key is often mistyped in its last part only, or given without the parts before it.
    tails = {name.rsplit(".", 1)[-1]: name for name in known}
    near = (
        _closest(word, known, 0.6)
        or tails.get(_closest(word.rsplit(".", 1)[-1], tails, 0.75))
        or _closest(word.split(".")[0], known, 0.75)
    )
    return f"did you mean {near!r}?" if near else otherwise


def _closest(word: str, known: Iterable[str], least: float) -> str:
    """Return the known word most like one, the first of several by the alphabet; an empty one if none is enough so."""
    likeness = {name: difflib.SequenceMatcher(None, name, word).ratio() for name in sorted(known)}
    best = max(likeness, key=lambda name: likeness[name], default="")
    return best if likeness.get(best, 0.0) >= least else ""
