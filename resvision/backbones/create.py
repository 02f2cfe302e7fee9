"""Build a backbone by name, with its options checked and its weights loaded."""

from collections.abc import Collection
from difflib import get_close_matches
from os import PathLike, fspath
from typing import TypedDict, Unpack

from resvision.backbones.base import Backbone
from resvision.backbones.family import Shortcut
from resvision.backbones.registry import get_entry
from resvision.backbones.stages import OutputStride
from resvision.backbones.weights import load_weights
from resvision.layers.activations import Activation
from resvision.layers.norms import Norm
from resvision.layers.stems import Stem

__all__ = ["BackboneOptions", "create_backbone"]


class BackboneOptions(TypedDict, total=False):
    """Options of the built-in backbones, for type checkers; `ResNet` says what each one does."""

    in_channels: int
    output_stride: OutputStride
    stem: Stem | None
    norm: Norm | None
    shortcut: Shortcut | None
    drop_path: float
    zero_init_residual: bool
    activation: Activation
    recompute: bool
    out_features: Collection[str] | None


def create_backbone(
    name: str, *, weights: str | PathLike[str] | None = None, **options: Unpack[BackboneOptions]
) -> Backbone:
    """Build a registered backbone.

    Args:
        name: One of `list_backbones()`, or `timm/<name>` for any model of timm's that gives feature maps.
        weights: None starts from random numbers. The path of a file (`.pth .pt .th .ckpt .safetensors .npz`) is read;
            `timm/<tag>` and `torchvision/<name>`, such as `timm/a1_in1k` and `torchvision/IMAGENET1K_V2`, fetch those
            of the same model there; so do `hf-hub:<repository>` and a URL that ends in `#sha256=<digest>`. Nothing
            else ever touches the network.
        **options: See `BackboneOptions`.

    Raises:
        ValueError: The name or an option is not known (the message has the nearest), a value is outside
            its range, or the weights are of another network.
        FileNotFoundError: The weights are not there, or cannot be fetched; the message says which file to
            put where.
    """
    entry = get_entry(name)
    known = entry.option_names()
    for option in options:
        if option not in known:
            near = get_close_matches(option, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"{name} has no option {option!r}; {hint}its options are {', '.join(known)}")
    backbone = entry.build(**options)
    if weights is not None:
        load_weights(backbone, fspath(weights), entry=entry)
    return backbone
