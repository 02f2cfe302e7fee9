"""Layers: convolution units, residual blocks, stems, norms, attention, and the input's normalisation."""

from resvision.layers.activations import Activation, ActivationFactory, activation_factory
from resvision.layers.attention import EfficientChannelAttention, SqueezeExcitation
from resvision.layers.blur import BlurPool2d
from resvision.layers.choices import check_choice, check_whole
from resvision.layers.conv_norm_act import ConvNormAct
from resvision.layers.drop_path import DropPath, drop_path_rates
from resvision.layers.enlarge import enlarge
from resvision.layers.initialization import initialize_convolutions
from resvision.layers.normalize import IMAGENET, InputNormalization, InputStatistics
from resvision.layers.norms import FrozenBatchNorm2d, Norm, NormFactory, norm_factory
from resvision.layers.residual import BasicBlock, BlockStyle, Bottleneck, PlainBlock
from resvision.layers.shortcuts import ZeroPadShortcut, average_shortcut, projection_shortcut
from resvision.layers.stems import Stem, StemPool, stem_convolution, stem_pool, stem_stride

__all__ = [
    "IMAGENET",
    "Activation",
    "ActivationFactory",
    "BasicBlock",
    "BlockStyle",
    "BlurPool2d",
    "Bottleneck",
    "ConvNormAct",
    "DropPath",
    "EfficientChannelAttention",
    "FrozenBatchNorm2d",
    "InputNormalization",
    "InputStatistics",
    "Norm",
    "NormFactory",
    "PlainBlock",
    "SqueezeExcitation",
    "Stem",
    "StemPool",
    "ZeroPadShortcut",
    "activation_factory",
    "average_shortcut",
    "check_choice",
    "check_whole",
    "drop_path_rates",
    "enlarge",
    "initialize_convolutions",
    "norm_factory",
    "projection_shortcut",
    "stem_convolution",
    "stem_pool",
    "stem_stride",
]
