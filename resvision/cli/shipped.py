"""The configs that come with the package: where they are, and `resvision configs`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import resvision

__all__ = ["find_config", "folder", "main", "names"]


def folder() -> Path:
    """Return the folder of the shipped configs: inside the installed package, or of the checkout in use."""
    package = Path(resvision.__file__).parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def names() -> list[str]:
    """Return the file names of the shipped configs, sorted."""
    return sorted(path.name for path in folder().glob("*.yaml"))


def find_config(given: str) -> str:
    """Return the path of a config given as a file, or by the name of a shipped one when no such file is there.

    `configs/NAME.yaml` is understood as a shipped name too, so that the commands of the manual work in any folder.
    """
    path = Path(given)
    try:
        if path.exists() or path.parent not in (Path(), Path("configs")):
            return given
    except OSError:  # no name that a file can have; whoever opens it says so
        return given
    shipped = path.name if path.suffix else f"{path.name}.yaml"
    return str(folder() / shipped) if shipped in names() else given


def header(path: Path) -> str:
    """Return the comment that a config opens with: what it trains, on what, with which result."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").rstrip())
    return "\n".join(lines)


def main(verb: str, words: Sequence[str]) -> int:
    """Print every shipped config with what its header states."""
    parser = argparse.ArgumentParser(
        prog=f"resvision {verb}",
        description="List the configs that come with resvision; use one by its name.",
    )
    parser.add_argument("name", nargs="?", help="print this config in full")
    name = parser.parse_args(words).name
    if name is not None:
        path = Path(find_config(name))
        if path.name not in names():
            raise ValueError(f"there is no shipped config {name!r}; there are {', '.join(names())}")
        print(path.read_text(encoding="utf-8"), end="")
        return 0
    for shipped in names():
        print(shipped)
        for line in header(folder() / shipped).splitlines():
            print(f"    {line}".rstrip())
    return 0
