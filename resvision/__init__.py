"""Train ResNets on your own pictures, and lift the backbones out again.

The names below are imported when they are first used, so that `import resvision` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from resvision._version import __version__

if TYPE_CHECKING:
    from resvision.backbones import create_backbone, list_backbones, register_backbone
    from resvision.inference import load
    from resvision.models import Classifier, ResUNet

__all__ = ["Classifier", "ResUNet", "__version__", "create_backbone", "list_backbones", "load", "register_backbone"]

_HOME = {
    "Classifier": "resvision.models",
    "ResUNet": "resvision.models",
    "create_backbone": "resvision.backbones",
    "list_backbones": "resvision.backbones",
    "load": "resvision.inference",
    "register_backbone": "resvision.backbones",
}


_ROOMS = ("backbones", "callbacks", "data", "decoders", "heads", "inference", "layers", "losses", "models", "tasks")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"resvision.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'resvision' has no attribute {name!r}; it has {', '.join(__dir__())}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS])
