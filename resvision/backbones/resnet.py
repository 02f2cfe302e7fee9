"""Residual networks, from a layout of the family's tables.

He et al. 2015, table 1, for a picture of 224x224; a block in brackets is repeated as the column says:

    feature  side  layer             18-layer     34-layer     50-layer     101-layer    152-layer
    stem      112  conv1             7x7, 64, stride 2
    stage1     56  conv2_x           3x3 max pool, stride 2
                                     [3x3,  64    [3x3,  64    [1x1,  64    [1x1,  64    [1x1,  64
                                      3x3,  64]    3x3,  64]    3x3,  64     3x3,  64     3x3,  64
                                      x 2          x 3          1x1, 256]    1x1, 256]    1x1, 256]
                                                                x 3          x 3          x 3
    stage2     28  conv3_x, width 128    x 2          x 4          x 4          x 4          x 8
    stage3     14  conv4_x, width 256    x 2          x 6          x 6          x 23         x 36
    stage4      7  conv5_x, width 512    x 2          x 3          x 3          x 3          x 3

A shortcut is the identity, or a strided 1x1 convolution where the size changes (option B). The stride of a
bottleneck is on its 3x3 convolution, as in torchvision and timm, not on its first 1x1 as in the paper.
"""

import math
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from typing import final, get_args

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint_sequential

from resvision.backbones.base import Backbone, check_features
from resvision.backbones.family import ResNetLayout, Shortcut
from resvision.backbones.stages import OutputStride, StagePlan, plan_stages
from resvision.features import FeatureSpec
from resvision.layers.activations import Activation, ActivationFactory, activation_factory
from resvision.layers.attention import EfficientChannelAttention, SqueezeExcitation
from resvision.layers.choices import check_choice
from resvision.layers.initialization import initialize_convolutions
from resvision.layers.norms import Norm, NormFactory, norm_factory
from resvision.layers.residual import BasicBlock, BlockStyle, Bottleneck, PlainBlock
from resvision.layers.shortcuts import ZeroPadShortcut, average_shortcut, projection_shortcut
from resvision.layers.stems import Stem, stem_convolution, stem_pool, stem_stride

__all__ = ["ResNet"]

_RESIDUAL: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


@final
class ResNet(Backbone):
    """A residual network; its modules are named `conv1`, `bn1`, `layer1`, ... as in torchvision and timm.

    Args:
        layout: Which network of the family.
        in_channels: Channels of the pictures.
        output_stride: Largest stride; the stages beyond it keep the size and dilate their 3x3 convolutions
            instead.
        stem: Another stem than the layout's; `cifar` keeps the size of small pictures.
        norm: Other norms than the layout's.
        shortcut: Other shortcuts than the layout's where the size changes: `zero_pad` is option A of the paper,
            `projection` option B; `projections`, on every block, is option C.
        drop_path: Share of samples for which the last block's branch is dropped while training; it grows
            linearly from 0 at the first block.
        zero_init_residual: Begin with branches that add nothing: the last norm of each has weight 0 (Goyal
            et al. 2017, arXiv:1706.02677, section 5.1), or the last convolution if there are no norms.
        activation: What follows the norms and the sums.
        recompute: Keep few maps for the backward pass and compute the others once more (Chen et al. 2016,
            arXiv:1604.06174): a third more time, and memory that grows with the root of the depth. Batch norms take
            each batch into their running statistics twice.
        out_features: Features to return; stages that none of them needs are not built. All by default.

    Raises:
        ValueError: An option is outside its range.
    """

    def __init__(
        self,
        layout: ResNetLayout,
        *,
        in_channels: int = 3,
        output_stride: OutputStride = 32,
        stem: Stem | None = None,
        norm: Norm | None = None,
        shortcut: Shortcut | None = None,
        drop_path: float = 0.0,
        zero_init_residual: bool = True,
        activation: Activation = "relu",
        recompute: bool = False,
        out_features: Collection[str] | None = None,
    ) -> None:
        super().__init__(in_channels)
        check_choice("output_stride", output_stride, get_args(OutputStride))
        check_choice("shortcut", layout.shortcut if shortcut is None else shortcut, get_args(Shortcut))
        if layout.block == "plain" and (drop_path or shortcut):
            raise ValueError(f"a plain network has no shortcuts; got shortcut={shortcut!r}, drop_path={drop_path}")
        layout = _with_options(layout, stem=stem, norm=norm, shortcut=shortcut)
        style = _style(layout, activation_factory(activation))
        channels, stride = layout.channels[0], stem_stride(layout.stem)
        inner = stride if layout.pool == "none" else stride * 2
        stages = tuple(plan_stages(layout, stride=inner, output_stride=output_stride, drop_path=drop_path))
        wanted = check_features(out_features, ("stem", *(stage.feature for stage in stages)))

        self.conv1 = stem_convolution(layout.stem, in_channels, channels, norm=style.norm, activation=style.activation)
        self.input_convolutions = ("conv1" if isinstance(self.conv1, nn.Conv2d) else "conv1.0",)
        self.bn1 = style.norm(channels)
        self.act1 = style.activation()
        specs = {"stem": FeatureSpec(channels, stride)}
        if wanted != ("stem",):
            self.maxpool = stem_pool(
                layout.pool, channels, norm=style.norm, antialias=layout.antialias, activation=style.activation
            )
        for stage in stages:
            if wanted[-1] in specs:
                break
            self.add_module(f"layer{stage.number}", _build_stage(layout, stage, style))
            specs[stage.feature] = FeatureSpec(stage.out_channels, stage.stride)
        self.feature_specs = {name: specs[name] for name in wanted}
        self.stage_parameters = {"stem": ("conv1.", "bn1.")}
        self.stage_parameters |= {stage.feature: (f"layer{stage.number}.",) for stage in stages}
        self.stage_parameters["stage1"] += ("maxpool.",)  # in table 1, too, the pool is part of conv2_x
        self.recompute = recompute
        self._built = tuple((stage.feature, f"layer{stage.number}") for stage in stages if stage.feature in specs)
        initialize_convolutions(self)
        if zero_init_residual:
            for _, name in self._built:
                _zero_last_norms(self.get_submodule(name))

    def compute_features(self, images: Tensor) -> dict[str, Tensor]:
        """Run the stem and the stages, and keep the maps that are wanted."""
        features = {}
        x = self.act1(self.bn1(self.conv1(images)))
        if "stem" in self.feature_specs:
            features["stem"] = x
        if self._built:
            x = self.maxpool(x)
        for name, module in self._built:
            stage = getattr(self, module)
            if self.recompute and self.training:
                # As many parts as each has blocks, which is where the least is kept.
                parts = round(math.sqrt(len(stage)))
                x = checkpoint_sequential(stage, parts, x, use_reentrant=False)  # type: ignore[no-untyped-call]
            else:
                x = stage(x)
            if name in self.feature_specs:
                features[name] = x
        return features


def _with_options(
    layout: ResNetLayout, *, stem: Stem | None, norm: Norm | None, shortcut: Shortcut | None
) -> ResNetLayout:
    """Put the options in the layout's place; small pictures, for which the `cifar` stem is, are not pooled."""
    stem = layout.stem if stem is None else stem
    return replace(
        layout,
        stem=stem,
        pool="none" if stem == "cifar" else layout.pool,
        norm=layout.norm if norm is None else norm,
        shortcut=layout.shortcut if shortcut is None else shortcut,
    )


def _style(layout: ResNetLayout, activation: ActivationFactory) -> BlockStyle:
    attentions = {
        "none": None,
        "se": SqueezeExcitation,
        "se_rs": partial(SqueezeExcitation, reduction=4),
        "eca": EfficientChannelAttention,
    }
    return BlockStyle(
        norm=norm_factory(layout.norm),
        groups=layout.groups,
        width_per_group=layout.width_per_group,
        attention=attentions[layout.attention],
        antialias=layout.antialias,
        activation=activation,
    )


def _build_stage(layout: ResNetLayout, stage: StagePlan, style: BlockStyle) -> nn.Sequential:
    """Build the blocks of a stage; only the first one strides, and only its shortcut has parameters."""
    blocks: list[nn.Module] = []
    in_channels, step, dilation = stage.in_channels, stage.step, stage.dilation
    for rate in stage.drop_path:
        if layout.block == "plain":
            block: nn.Module = PlainBlock(
                in_channels,
                stage.width,
                stride=step,
                dilation=dilation,
                norm=style.norm,
                activation=style.activation,
            )
        else:
            block = _RESIDUAL[layout.block](
                in_channels,
                stage.width,
                stride=step,
                dilation=dilation,
                shortcut=_shortcut(layout, stage, style.norm, is_first=not blocks),
                drop_path=rate,
                style=style,
            )
        blocks.append(block)
        in_channels, step, dilation = stage.out_channels, 1, (stage.dilation[1],) * 2
    return nn.Sequential(*blocks)


def _shortcut(layout: ResNetLayout, stage: StagePlan, norm: NormFactory, *, is_first: bool) -> nn.Module | None:
    """Build the shortcut of a block, where the identity does not fit or is not wanted."""
    sizes = stage.in_channels if is_first else stage.out_channels, stage.out_channels
    step = stage.step if is_first else 1
    if layout.shortcut == "projections":
        return projection_shortcut(*sizes, stride=step, norm=norm)
    if step == 1 and sizes[0] == sizes[1]:
        return None
    if layout.shortcut == "zero_pad":
        return ZeroPadShortcut(*sizes, stride=stage.step)
    if layout.shortcut == "average":
        return average_shortcut(*sizes, stride=stage.step, dilated=stage.dilation[1] > 1, norm=norm)
    return projection_shortcut(*sizes, stride=stage.step, norm=norm)


def _zero_last_norms(stage: nn.Module) -> None:
    for block in stage.children():
        if isinstance(block, BasicBlock | Bottleneck):
            last = block.last_norm
            if isinstance(last, nn.Identity):
                last = block.conv3 if isinstance(block, Bottleneck) else block.conv2
            weight = last.weight
            if isinstance(weight, nn.Parameter):  # a frozen norm could never leave the zero again
                nn.init.zeros_(weight)
