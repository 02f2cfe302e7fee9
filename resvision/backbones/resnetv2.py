"""Pre-activation residual networks: `stem.conv`, `stages.0.blocks.0`, ... as timm names them."""

from collections.abc import Collection
from typing import final, get_args

from torch import Tensor, nn

from resvision.backbones.base import Backbone, check_features
from resvision.backbones.family import ResNetLayout
from resvision.backbones.stages import OutputStride, StagePlan, plan_stages
from resvision.features import FeatureSpec
from resvision.layers.choices import check_choice
from resvision.layers.initialization import initialize_convolutions
from resvision.layers.norms import Norm, NormFactory, norm_factory
from resvision.layers.preactivation import PreActBasicBlock, PreActBottleneck
from resvision.layers.stems import StemPool, stem_convolution, stem_pool, stem_stride

__all__ = ["ResNetV2"]


@final
class ResNetV2(Backbone):
    """A residual network whose units normalise first (He et al. 2016, arXiv:1603.05027).

    A stage ends with a plain sum, so its feature is neither normalised nor rectified, but for the last stage's, which
    the network's final norm and rectifier follow.

    Args:
        layout: Depths, widths, stem and block, which is a pre-activation one here; blocks that change the size project.
        in_channels: Channels of the pictures.
        output_stride: Largest stride; the stages beyond it dilate their 3x3 convolutions instead.
        norm: Other norms than the layout's.
        drop_path: Share of samples for which the last block's branch is dropped while training; it grows linearly
            from 0 at the first block.
        zero_init_residual: Begin with branches that add nothing: the last convolution of each is 0.
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
        norm: Norm | None = None,
        drop_path: float = 0.0,
        zero_init_residual: bool = True,
        out_features: Collection[str] | None = None,
    ) -> None:
        super().__init__(in_channels)
        check_choice("output_stride", output_stride, get_args(OutputStride))
        norms = norm_factory(layout.norm if norm is None else norm)
        stride = stem_stride(layout.stem)
        inner = stride if layout.stem == "cifar" else stride * 2
        stages = tuple(plan_stages(layout, stride=inner, output_stride=output_stride, drop_path=drop_path))
        wanted = check_features(out_features, ("stem", *(stage.feature for stage in stages)))

        self.stem = nn.Sequential()
        convolution = stem_convolution(layout.stem, in_channels, layout.channels[0], norm=norms)
        self.stem.add_module("conv", convolution)
        self.input_convolutions = ("stem.conv",)
        pool: StemPool = "none" if layout.stem == "cifar" else layout.pool
        self.pool = stem_pool(pool, layout.channels[0], norm=norms, antialias=False)
        self.stages = nn.ModuleList()
        specs = {"stem": FeatureSpec(layout.channels[0], stride)}
        for stage in stages:
            if wanted[-1] in specs:
                break
            self.stages.append(_build_stage(layout, stage, norms))
            specs[stage.feature] = FeatureSpec(stage.out_channels, stage.stride)
        deepest = stages[-1]
        self.norm = norms(deepest.out_channels) if wanted[-1] == deepest.feature else None
        self.act = nn.ReLU(inplace=True)
        self.feature_specs = {name: specs[name] for name in wanted}
        self.stage_parameters = {"stem": ("stem.",)}
        self.stage_parameters |= {stage.feature: (f"stages.{stage.number - 1}.",) for stage in stages}
        self.stage_parameters[deepest.feature] += ("norm.",)
        initialize_convolutions(self)
        if zero_init_residual:
            for block in self.modules():
                if isinstance(block, PreActBottleneck | PreActBasicBlock):
                    last = block.conv3 if isinstance(block, PreActBottleneck) else block.conv2
                    nn.init.zeros_(last.weight)

    def compute_features(self, images: Tensor) -> dict[str, Tensor]:
        """Run the stem and the stages, and keep the maps that are wanted."""
        x = self.stem(images)
        features = {"stem": x}
        if len(self.stages):
            x = self.pool(x)
        for number, stage in enumerate(self.stages, start=1):
            x = stage(x)
            features[f"stage{number}"] = x
        if self.norm is not None:
            features[f"stage{len(self.stages)}"] = self.act(self.norm(x))
        return {name: features[name] for name in self.feature_specs}


def _build_stage(layout: ResNetLayout, stage: StagePlan, norm: NormFactory) -> nn.Sequential:
    """Build the blocks of a stage; only the first one strides."""
    blocks = nn.Sequential()
    in_channels, step, dilation = stage.in_channels, stage.step, stage.dilation[0]
    for rate in stage.drop_path:
        if layout.block == "bottleneck":
            block: nn.Module = PreActBottleneck(
                in_channels, stage.width, stride=step, dilation=dilation, drop_path=rate, norm=norm
            )
        else:  # of small pictures, whose stride is never too large
            block = PreActBasicBlock(in_channels, stage.width, stride=step, drop_path=rate, norm=norm)
        blocks.append(block)
        in_channels, step, dilation = stage.out_channels, 1, stage.dilation[1]
    named = nn.Sequential()
    named.add_module("blocks", blocks)
    return named
