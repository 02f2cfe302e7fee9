"""The ResNet family as tables: what makes each network, in one row.

Nothing here imports torch, so that names can be listed at once; `resnet.py` builds the networks from these rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from resvision.backbones.entry import BackboneEntry

if TYPE_CHECKING:
    from resvision.layers.norms import Norm
    from resvision.layers.stems import Stem, StemPool

__all__ = ["ENTRIES", "Attention", "Block", "ResNetLayout", "Shortcut"]

Block = Literal["basic", "bottleneck", "plain"]
Shortcut = Literal["projection", "projections", "average", "zero_pad"]
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
        shortcut: Shortcut of blocks that change the size; `projections` has one on every other block too.
        groups: Groups of the 3x3 convolution of a bottleneck.
        width_per_group: Width of that convolution, per group and 64 channels of the stage.
        attention: Channel attention at the end of each branch; `se_rs` squeezes to a quarter, not a sixteenth.
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


def _variant_d(layout: ResNetLayout) -> ResNetLayout:
    """Replace the 7x7 stem by three 3x3, and average before projecting a shortcut (He et al. 2019, figure 2)."""
    return replace(layout, stem="deep", shortcut="average")


def _plain(layout: ResNetLayout) -> ResNetLayout:
    """Take the shortcuts away (He et al. 2015, section 3.3)."""
    return replace(layout, block="plain")


def _cifar(blocks: int) -> ResNetLayout:
    """Lay out 6n + 2 layers for 32x32 pictures (He et al. 2015, section 4.2), with shortcuts of option A."""
    return ResNetLayout("basic", (blocks,) * 3, channels=(16, 32, 64), stem="cifar", shortcut="zero_pad")


# He et al. 2015, table 1: the blocks of conv2_x, conv3_x, conv4_x and conv5_x.
TABLE_1 = {
    "resnet18": ResNetLayout("basic", (2, 2, 2, 2)),
    "resnet34": ResNetLayout("basic", (3, 4, 6, 3)),
    "resnet50": ResNetLayout("bottleneck", (3, 4, 6, 3)),
    "resnet101": ResNetLayout("bottleneck", (3, 4, 23, 3)),
    "resnet152": ResNetLayout("bottleneck", (3, 8, 36, 3)),
}
R50, R101 = TABLE_1["resnet50"], TABLE_1["resnet101"]

# Depths that the paper does not have.
OTHER_DEPTHS = {
    "resnet26": ResNetLayout("bottleneck", (2, 2, 2, 2)),
    "resnet200": ResNetLayout("bottleneck", (3, 24, 36, 3)),
}

VARIANT_D = {f"{name}d": _variant_d(layout) for name, layout in (TABLE_1 | OTHER_DEPTHS).items()}

# One block per stage under the "t" stem of timm: a toy for tests and first tries.
TOY = {"resnet10t": ResNetLayout("basic", (1, 1, 1, 1), stem="tiered", shortcut="average")}

RESNEXT = {
    "resnext50_32x4d": replace(R50, groups=32, width_per_group=4),
    "resnext101_32x8d": replace(R101, groups=32, width_per_group=8),
    "resnext101_64x4d": replace(R101, groups=64, width_per_group=4),
}

WIDE = {
    "wide_resnet50_2": replace(R50, width_per_group=128),
    "wide_resnet101_2": replace(R101, width_per_group=128),
}

PLAIN = {f"plain{depth}": _plain(TABLE_1[f"resnet{depth}"]) for depth in (18, 34)}

# He et al. 2015, table 6.
CIFAR = {f"cifar_resnet{depth}": _cifar((depth - 2) // 6) for depth in (20, 32, 44, 56, 110, 164, 1202)}
# The units of He et al. 2016 in nets for 32x32 pictures; shortcuts that change the size are projections.
CIFAR_PRE_ACTIVATION = {
    f"cifar_preresnet{depth}": replace(CIFAR[f"cifar_resnet{depth}"], shortcut="projection") for depth in (20, 56, 110)
}
CIFAR_PLAIN = {f"cifar_plain{depth}": _plain(CIFAR[f"cifar_resnet{depth}"]) for depth in (20, 32, 44, 56)}


def _entries(
    layouts: Mapping[str, ResNetLayout], paper: str, *, references: tuple[str, ...] = ()
) -> tuple[BackboneEntry, ...]:
    return tuple(
        BackboneEntry(
            name,
            "resvision.backbones.resnet:ResNet",
            layout,
            references=tuple(f"{library}/{name}" for library in references),
            paper=paper,
        )
        for name, layout in layouts.items()
    )


HE_2015, HE_2019 = "arXiv:1512.03385", "arXiv:1812.01187"
TIMM, BOTH = ("timm",), ("timm", "torchvision")

ENTRIES = (
    *_entries(TABLE_1, HE_2015, references=BOTH),
    *_entries(OTHER_DEPTHS, HE_2015, references=TIMM),
    *_entries(VARIANT_D | TOY, HE_2019, references=TIMM),
    *_entries(RESNEXT, "arXiv:1611.05431", references=BOTH),
    *_entries(WIDE, "arXiv:1605.07146", references=BOTH),
    *_entries({"seresnet50": replace(R50, attention="se")}, "arXiv:1709.01507", references=TIMM),
    *_entries({"ecaresnet50d": replace(_variant_d(R50), attention="eca")}, "arXiv:1910.03151", references=TIMM),
    *_entries({"resnetblur50": replace(R50, antialias=True)}, "arXiv:1904.11486", references=TIMM),
    *_entries(
        {"resnetrs50": replace(_variant_d(R50), attention="se_rs", pool="convolution")},
        "arXiv:2103.07579",
        references=TIMM,
    ),
    *_entries({"resnet50_gn": replace(R50, norm="group")}, "arXiv:1803.08494", references=TIMM),
    *_entries(PLAIN | CIFAR | CIFAR_PLAIN, HE_2015),
    *(
        BackboneEntry(name, "resvision.backbones.resnetv2:ResNetV2", layout, paper="arXiv:1603.05027")
        for name, layout in CIFAR_PRE_ACTIVATION.items()
    ),
    BackboneEntry(
        "resnetv2_50",
        "resvision.backbones.resnetv2:ResNetV2",
        R50,
        references=("timm/resnetv2_50",),
        paper="arXiv:1603.05027",
    ),
    BackboneEntry("resunet_encoder", "resvision.backbones.resunet_encoder:ResUNetEncoder", paper="arXiv:1711.10684"),
    BackboneEntry(
        "googlenet",
        "resvision.backbones.googlenet:GoogLeNet",
        references=("torchvision/googlenet",),
        paper="arXiv:1409.4842",
    ),
)
"""Every built-in backbone."""
