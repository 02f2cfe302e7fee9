"""What the registry knows about a backbone. Nothing here imports torch, so a list of names is instant."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resvision.backbones.base import Backbone

__all__ = ["BackboneEntry"]


@dataclass(frozen=True)
class BackboneEntry:
    """One registered backbone.

    Args:
        name: What `create_backbone` is asked for.
        builder: Function or class whose keyword-only parameters are the options; or where to import it from,
            `package.module:name`, which is done only when one is built.
        layout: Passed to the builder as its first argument, where one builder serves a whole family.
        references: Third-party models that this one equals under copied weights, `timm/<name>` and
            `torchvision/<name>`; their pretrained weights can be loaded.
        paper: Where the network was published, such as `arXiv:1512.03385`.
    """

    name: str
    builder: "Callable[..., Backbone] | str"
    layout: object = None
    references: tuple[str, ...] = ()
    paper: str | None = None

    def load_builder(self) -> "Callable[..., Backbone]":
        """Import the builder, if that has not happened yet."""
        if not isinstance(self.builder, str):
            return self.builder
        module, _, name = self.builder.partition(":")
        builder: Callable[..., Backbone] = getattr(import_module(module), name)
        return builder

    def build(self, **options: Any) -> "Backbone":
        """Build the network.

        Raises:
            TypeError: An option is not one of the builder's; use `option_names` to check first.
            ValueError: An option has a value that the network does not allow.
        """
        builder = self.load_builder()
        return builder(**options) if self.layout is None else builder(self.layout, **options)

    def reference_in(self, library: str) -> str | None:
        """Return the name of the reference in `timm` or `torchvision`, if it has one there."""
        prefix = library + "/"
        return next((name.removeprefix(prefix) for name in self.references if name.startswith(prefix)), None)

    def option_names(self) -> tuple[str, ...]:
        """Return the options that `build` takes."""
        parameters = signature(self.load_builder()).parameters.values()
        return tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
