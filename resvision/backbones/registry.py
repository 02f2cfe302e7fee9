"""The registry: one dict of frozen entries, by name, and those that installed packages add. No torch in here."""

from collections.abc import Callable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, TypeVar

from resvision.backbones.entry import BackboneEntry
from resvision.backbones.family import ENTRIES

if TYPE_CHECKING:
    from resvision.backbones.base import Backbone

__all__ = ["ENTRY_POINT_GROUP", "get_entry", "list_backbones", "register_backbone"]

ENTRY_POINT_GROUP = "resvision.backbones"
"""Where an installed package names its builders: `name = "package.module:builder"`."""

_ENTRIES: dict[str, BackboneEntry] = {entry.name: entry for entry in ENTRIES}

Builder = TypeVar("Builder", bound="Callable[..., Backbone]")


def register_backbone(
    name: str, *, references: tuple[str, ...] = (), paper: str | None = None
) -> Callable[[Builder], Builder]:
    """Register the decorated function or class, which builds a backbone from keyword-only options.

    A builder that its package also names as an entry point may be decorated: this adds the references and the paper.
    The same builder may come again, as it does when a cell of a notebook is run once more; the last one counts.

    Args:
        name: What `create_backbone` is asked for.
        references: Third-party models that this one equals under copied weights, `timm/<name>` and
            `torchvision/<name>`.
        paper: Where the network was published, such as `arXiv:1512.03385`.

    Raises:
        ValueError: The name is taken, or begins with `timm/`, as timm's own models do.
    """
    if name.startswith("timm/"):
        raise ValueError(f"{name!r} is a model of timm's; choose another name")

    def register(builder: Builder) -> Builder:
        known, installed = _ENTRIES.get(name), _installed().get(name)
        is_other = known is not None and (isinstance(known.builder, str) or _place(known.builder) != _place(builder))
        if is_other or (installed is not None and installed.builder != _place(builder)):
            raise ValueError(f"a backbone named {name!r} is registered already; choose another name")
        _ENTRIES[name] = BackboneEntry(name, builder, references=references, paper=paper)
        return builder

    return register


def _place(builder: "Callable[..., Backbone]") -> str:
    """Return where a builder is defined, as an entry point says it."""
    return f"{builder.__module__}:{builder.__qualname__}"


def list_backbones(pattern: str = "*") -> list[str]:
    """Return the registered names that match a pattern such as `resnet*d`, sorted."""
    return sorted(name for name in _entries() if fnmatchcase(name, pattern))


def get_entry(name: str) -> BackboneEntry:
    """Return what is registered under a name; `timm/<name>` is any model of timm's.

    Raises:
        ValueError: Nothing is; the message suggests the nearest names.
    """
    library, _, model = name.partition("/")
    if library == "timm" and model:
        return BackboneEntry(name, "resvision.backbones.timm_adapter:TimmBackbone", model, references=(name,))
    entries = _entries()
    if name not in entries:
        near = get_close_matches(name, entries, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(list_backbones())}"
        raise ValueError(f"unknown backbone {name!r}; {hint}")
    return entries[name]


def _entries() -> dict[str, BackboneEntry]:
    return _installed() | _ENTRIES


@cache
def _installed() -> dict[str, BackboneEntry]:
    """Read the entry points of installed packages; their code is not imported before one is built."""
    found: dict[str, BackboneEntry] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name in _ENTRIES or point.name in found:
            owner = point.dist.name if point.dist else "an installed package"
            raise ValueError(f"{owner} registers a backbone named {point.name!r}, which is taken; rename it there")
        found[point.name] = BackboneEntry(point.name, point.value)
    return found
