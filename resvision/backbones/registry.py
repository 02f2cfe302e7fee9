"""The registry: one dict of frozen entries, by name. Nothing here imports torch."""

from collections.abc import Callable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

from resvision.backbones.entry import BackboneEntry
from resvision.backbones.family import ENTRIES

if TYPE_CHECKING:
    from resvision.backbones.base import Backbone

__all__ = ["get_entry", "list_backbones", "register_backbone"]

_ENTRIES: dict[str, BackboneEntry] = {entry.name: entry for entry in ENTRIES}

Builder = TypeVar("Builder", bound="Callable[..., Backbone]")


def register_backbone(
    name: str, *, references: tuple[str, ...] = (), paper: str | None = None
) -> Callable[[Builder], Builder]:
    """Register the decorated function or class, which builds a backbone from keyword-only options.

    Args:
        name: What `create_backbone` is asked for.
        references: Third-party models that this one equals under copied weights, `timm/<name>` and
            `torchvision/<name>`.
        paper: Where the network was published, such as `arXiv:1512.03385`.

    Raises:
        ValueError: The name is taken.
    """

    def register(builder: Builder) -> Builder:
        if name in _ENTRIES:
            raise ValueError(f"a backbone named {name!r} is registered already; choose another name")
        _ENTRIES[name] = BackboneEntry(name, builder, references=references, paper=paper)
        return builder

    return register


def list_backbones(pattern: str = "*") -> list[str]:
    """Return the registered names that match a pattern such as `resnet*d`, sorted."""
    return sorted(name for name in _ENTRIES if fnmatchcase(name, pattern))


def get_entry(name: str) -> BackboneEntry:
    """Return what is registered under a name; `timm/<name>` is any model of timm's.

    Raises:
        ValueError: Nothing is; the message suggests the nearest names.
    """
    library, _, model = name.partition("/")
    if library == "timm" and model:
        return BackboneEntry(name, "resvision.backbones.timm_adapter:TimmBackbone", model, references=(name,))
    if name not in _ENTRIES:
        near = get_close_matches(name, _ENTRIES, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(list_backbones())}"
        raise ValueError(f"unknown backbone {name!r}; {hint}")
    return _ENTRIES[name]
