"""Convolution, normalisation, activation: the unit that everything else is made of."""

from typing import final

from torch import Tensor, nn

from resvision.layers.norms import NormFactory

__all__ = ["ConvNormAct"]


@final
class ConvNormAct(nn.Module):
    """Convolve, normalise and rectify: (N, in_channels, H, W) to (N, out_channels, H / stride, W / stride).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel, odd; the padding keeps the size at stride 1.
        stride: Step of the kernel.
        norm: Builds the normalisation layer. The convolution has no bias, as the norm has one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        norm: NormFactory = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2, bias=False
        )
        self.bn = norm(out_channels)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the three in order."""
        result: Tensor = self.act(self.bn(self.conv(x)))
        return result
