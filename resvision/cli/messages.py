"""From an exception to the one or two lines that tell a person what to mend."""

import difflib
import inspect
import re
from argparse import ArgumentError
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module

__all__ = ["Explanation", "UsageError", "explain", "explain_parse_error"]


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


def explain_parse_error(message: str, *, keys: Iterable[str], classes: Iterable[str], files: Iterable[str] = ()) -> str:
    """Turn a parser's message into one that names the key and the nearest right word.

    Args:
        message: What jsonargparse says.
        keys: Every dotted key that the parser knows.
        classes: Names of the classes that may stand as a `class_path`.
        files: Names of the configs that come with the package.
    """
    if match := re.search(r"Option '([^']+)' is not accepted", message):
        return _unknown_option(match[1], message)
    if match := re.search(r"does not accept option '([^']+)'|unrecognized arguments: (.+)", message):
        given = match[1] or match[2]
        key = given.lstrip("-").split()[0].split("=")[0]
        return f"there is no setting {given.split()[0].split('=')[0]!r}; {_nearest(key, keys, 'see --help')}"
    if match := re.search(
        r"Multiple subclasses with name (\S+)\. Give the full class path to avoid ambiguity: (.+?)\.\s", message
    ):
        return f"{_where(message)}there are several classes {match[1]}; say which: {match[2].replace(', ', ' or ')}"
    if match := re.search(r"Expected a dot import path string: (\S+)", message):
        near = _nearest(match[1], classes, f"there are {', '.join(sorted(classes)[:12])}")
        return f"{_where(message)}there is no class {match[1]!r}; {near}"
    if match := re.search(r"File does not exist: '?([^'\n]+)", message):
        name = match[1].rsplit("/", 1)[-1]
        return f"there is no config file {match[1]}; {_nearest(name, files, '`resvision configs` lists those shipped')}"
    if match := re.search(r"arguments are required: (.+)", message):
        missing = " and ".join(part.split(".", 1)[-1] for part in match[1].split(", "))
        return f"nothing says what {missing} to use; give a config with --config FILE (`resvision configs` lists some)"
    if "Unexpected config" in message:
        return (
            "the config is empty or no mapping of settings; it needs model: and data: (`resvision configs` lists some)"
        )
    if match := re.search(r"Problems parsing config: (.+)", message, flags=re.DOTALL):
        return f"the config is no valid YAML: {' '.join(match[1].split())}"
    return _wrong_value(message)


def _unknown_option(option: str, message: str) -> str:
    paths = re.findall(r"class_path[ =]'([^']+)'", message)
    path = paths[-1] if "Namespace(class_path=" in message else paths[0]
    module, _, name = path.rpartition(".")
    accepted = [p for p in inspect.signature(getattr(import_module(module), name)).parameters if p != "self"]
    return f"{name} has no setting {option!r}; {_nearest(option, accepted, 'it has ' + ', '.join(accepted))}"


def _wrong_value(message: str) -> str:
    lines = [line.strip(" -") for line in message.splitlines()]
    expected = [
        re.sub(r"\. Got value.*", "", line.removeprefix("Expected a ").removeprefix("Expected an "))
        for line in lines
        if line.startswith("Expected a") and "NoneType" not in line and "a path but" not in line
    ]
    got = re.search(r"Got value: (.+)", message) or re.search(r"Given value: (.+)", message)
    if not expected or got is None:
        return " ".join(message.split())
    kinds = " or ".join(dict.fromkeys(re.sub(r"<class '(?:\w+\.)*(\w+)'>|typing\.", r"\1", kind) for kind in expected))
    return f"{_where(message)}expected {kinds}, got {got[1]}"


def _where(message: str) -> str:
    keys = re.findall(r'Parser key "([^"]+)"', message)
    return f"{'.'.join(keys)}: " if keys else ""


def _nearest(word: str, known: Iterable[str], otherwise: str) -> str:
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if not near:
        # A key is often mistyped in its last part only, or given without the parts before it.
        tails = {name.rsplit(".", 1)[-1]: name for name in known}
        near = [tails[tail] for tail in difflib.get_close_matches(word.rsplit(".", 1)[-1], tails, n=1, cutoff=0.75)]
    if not near:
        near = difflib.get_close_matches(word.split(".")[0], known, n=1, cutoff=0.75)
    return f"did you mean {near[0]!r}?" if near else otherwise
