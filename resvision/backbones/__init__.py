"""Backbones: networks that turn pictures into feature pyramids, registered by name.

What needs torch is imported when it is first used, so that names can be listed without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from resvision.backbones.entry import BackboneEntry
from resvision.backbones.registry import get_entry, list_backbones, register_backbone

if TYPE_CHECKING:
    from resvision.backbones.base import Backbone
    from resvision.backbones.create import BackboneOptions, create_backbone
    from resvision.backbones.resnet import ResNet
    from resvision.backbones.weight_sources import list_weights

__all__ = [
    "Backbone",
    "BackboneEntry",
    "BackboneOptions",
    "ResNet",
    "create_backbone",
    "get_entry",
    "list_backbones",
    "list_weights",
    "register_backbone",
]

_HOME = {
    "Backbone": "resvision.backbones.base",
    "BackboneOptions": "resvision.backbones.create",
    "ResNet": "resvision.backbones.resnet",
    "create_backbone": "resvision.backbones.create",
    "list_weights": "resvision.backbones.weight_sources",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
