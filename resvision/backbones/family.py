"""The ResNet family as tables: what makes each network, in one row.

Nothing here imports torch. `resnet.py` builds the networks from these rows.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from resvision.backbones.entry import BackboneEntry

if TYPE_CHECKING:
    from resvision.layers.norms import Norm
    from resvision.layers.stems import Stem, StemPool

__all__ = ["ENTRIES", "ResNetLayout"]

Block = Literal["basic", "bottleneck", "plain"]
Shortcut = Literal["projection", "average", "zero_pad"]
Attention = Literal["none", "se", "se_rs", "eca"]


@dataclass(frozen=True)
class ResNetLayout:
    """One column of He et al. 2015, table 1, and what later papers changed about it.

    Args:
        block: Which block the stages repeat; `plain` has no shortcut.
        depths: Blocks per stage. The first block of every stage but the first has stride 2.
        channels: Width per stage, before the block's expansion; the stem is as wide as the first stage.
        stem: The first convolutions; see `resvision.layers.stems`.
        pool: What halves the stem's map.
        shortcut: Shortcut of blocks that change the size.
        groups: Groups of the 3x3 convolution of a bottleneck.
        width_per_group: Width of that convolution, per group and 64 channels of the stage.
        attention: Channel attention at the end of each branch; `se_rs` squeezes to a quarter, not a
            sixteenth.
        antialias: Blur before subsampling.
        norm: Normalisation layers.
    """

    block: Block
    depths: tuple[int, ...]
    channels: tuple[int, ...] = (64, 128, 256, 512)
    stem: "Stem" = "imagenet"
    pool: "StemPool" = "max"
    shortcut: Shortcut = "projection"
    groups: int = 1
    width_per_group: int = 64
    attention: Attention = "none"
    antialias: bool = False
    norm: "Norm" = "batch"


HE_2015 = "arXiv:1512.03385"
BAG_OF_TRICKS = "arXiv:1812.01187"

# He et al. 2015, table 1: the blocks of conv2_x, conv3_x, conv4_x and conv5_x.
TABLE_1 = {
    "resnet18": ResNetLayout("basic", (2, 2, 2, 2)),
    "resnet34": ResNetLayout("basic", (3, 4, 6, 3)),
    "resnet50": ResNetLayout("bottleneck", (3, 4, 6, 3)),
    "resnet101": ResNetLayout("bottleneck", (3, 4, 23, 3)),
    "resnet152": ResNetLayout("bottleneck", (3, 8, 36, 3)),
}

# A toy for tests and first tries: one block per stage, with the "t" stem of timm.
TOY = {"resnet10t": ResNetLayout("basic", (1, 1, 1, 1), stem="tiered", shortcut="average")}


def _entries(layouts: dict[str, ResNetLayout], paper: str, *, libraries: tuple[str, ...]) -> tuple[BackboneEntry, ...]:
    return tuple(
        BackboneEntry(
            name,
            "resvision.backbones.resnet:ResNet",
            layout,
            references=tuple(f"{library}/{name}" for library in libraries),
            paper=paper,
        )
        for name, layout in layouts.items()
    )


ENTRIES = (
    *_entries(TABLE_1, HE_2015, libraries=("timm", "torchvision")),
    *_entries(TOY, BAG_OF_TRICKS, libraries=("timm",)),
)
"""All networks that `ResNet` builds."""
