"""How the parameters of a network begin."""

from torch import nn

__all__ = ["initialize_convolutions"]


def initialize_convolutions(module: nn.Module) -> None:
    """Draw every convolution from the normal of He et al. 2015 (arXiv:1502.01852), scaled by its outputs.

    Keeping the variance of the gradient (`fan_out`) is what torchvision and timm do for ResNets. Biases
    become zero.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
