"""Work out the sizes of a residual network's stages from its layout, before anything is built."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from resvision.backbones.family import ResNetLayout
from resvision.layers.drop_path import drop_path_rates

__all__ = ["OutputStride", "StagePlan", "plan_stages"]

OutputStride = Literal[8, 16, 32]


@dataclass(frozen=True)
class StagePlan:
    """One stage of a residual network.

    Args:
        number: 1 for the first stage after the stem.
        in_channels: Channels of its input.
        width: Channels inside its blocks.
        out_channels: Channels of its output.
        step: Stride of its first block.
        stride: Stride of its output, from the picture.
        dilation: Of the stage before, which its first block keeps, and of its other blocks.
        drop_path: One rate for each of its blocks.
    """

    number: int
    in_channels: int
    width: int
    out_channels: int
    step: int
    stride: int
    dilation: tuple[int, int]
    drop_path: tuple[float, ...]

    @property
    def feature(self) -> str:
        """Name of the stage's output among the features."""
        return f"stage{self.number}"


def plan_stages(
    layout: ResNetLayout, *, stride: int, output_stride: OutputStride, drop_path: float
) -> Iterator[StagePlan]:
    """Yield the stages in order.

    Args:
        layout: Depths, widths and block.
        stride: Stride of the first stage's input.
        output_stride: Largest stride; a stage that would go beyond it doubles the dilation instead.
        drop_path: Rate of the last block.
    """
    channels, dilation = layout.channels[0], 1
    expansion = 4 if layout.block == "bottleneck" else 1
    rates = iter(drop_path_rates(drop_path, sum(layout.depths)))
    for number, (width, depth) in enumerate(zip(layout.channels, layout.depths, strict=True), start=1):
        step = 1 if number == 1 else 2
        before = dilation
        if stride * step > output_stride:
            step, dilation = 1, dilation * step
        stride *= step
        yield StagePlan(
            number=number,
            in_channels=channels,
            width=width,
            out_channels=expansion * width,
            step=step,
            stride=stride,
            dilation=(before, dilation),
            drop_path=tuple(islice(rates, depth)),
        )
        channels = expansion * width
