"""The arithmetic of figure 2."""

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from resvision.layers.conv_norm_act import ConvNormAct
from resvision.layers.inception import Inception, PlainInception


def parameters_with_biases(branch: nn.Module) -> int:
    """Count as the paper could: each convolution with a bias, into which its norm folds."""
    units = [module for module in branch.modules() if isinstance(module, ConvNormAct)]
    fused = [
        fuse_conv_bn_eval(unit.conv.eval(), unit.bn.eval()) for unit in units if isinstance(unit.bn, nn.BatchNorm2d)
    ]
    assert len(fused) == len(units)
    return sum(parameter.numel() for unit in fused for parameter in unit.parameters())


def test_inception__reducing_the_dimension_saves_four_fifths_of_the_5x5_branch() -> None:
    plain = PlainInception(192, (64, 128, 32))
    reduced = Inception(192, 64, 96, 128, 32, 32, 32)
    assert parameters_with_biases(plain.branch3) == 5 * 5 * 192 * 32 + 32 == 153_632
    assert parameters_with_biases(reduced.branch3) == (192 * 32 + 32) + (5 * 5 * 32 * 32 + 32) == 31_808


def test_inception__joins_its_branches_at_the_size_of_the_input() -> None:
    x = torch.randn(2, 16, 9, 7)
    assert PlainInception(16, (4, 5, 6))(x).shape == (2, 4 + 5 + 6 + 16, 9, 7)
    assert Inception(16, 4, 2, 5, 2, 6, 7)(x).shape == (2, 4 + 5 + 6 + 7, 9, 7)
