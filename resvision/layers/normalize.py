"""Raw pixels to the numbers that a network was trained on: the first layer of every model."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

__all__ = ["IMAGENET", "InputNormalization", "InputStatistics"]


@dataclass(frozen=True)
class InputStatistics:
    """Mean and standard deviation of each input channel, of pixels scaled to 0..1.

    Args:
        mean: One value per channel.
        std: One value per channel, above 0.

    Raises:
        ValueError: The two differ in length, are empty, or a standard deviation is not above 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise ValueError(f"mean and std need one value per channel each, got {self.mean} and {self.std}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0, got {self.std}")

    @classmethod
    def of(cls, mean: Tensor, std: Tensor) -> "InputStatistics":
        """Return the numbers of an `InputNormalization`, given its two buffers."""
        # A float32 has no more digits than these; printed with more, 0.485 becomes 0.48500001.
        return cls(*(tuple(float(f"{value:.7g}") for value in buffer.flatten().tolist()) for buffer in (mean, std)))

    def for_channels(self, channels: int) -> "InputStatistics":
        """Return the statistics of pictures with another number of channels.

        One channel gets the average, as grey is the average colour; more channels repeat the values in turn.
        The weights of a first convolution are summed and repeated the same way.

        Raises:
            ValueError: `channels` is below 1.
        """
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        known = len(self.mean)
        if channels == 1:
            return InputStatistics((sum(self.mean) / known,), (sum(self.std) / known,))
        turns = range(channels)
        return InputStatistics(tuple(self.mean[i % known] for i in turns), tuple(self.std[i % known] for i in turns))


IMAGENET = InputStatistics(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""Of the ImageNet-1k training pictures, RGB; the numbers that torchvision and timm use."""


@final
class InputNormalization(nn.Module):
    """Scale pixels to 0..1 and normalise each channel: `(x - mean) / std`.

    Takes (N, C, H, W) as uint8 (divided by 255), uint16 (divided by 65535) or floating point in 0..1, and
    returns the same shape and memory format in the type of its buffers, float32 unless the model was cast.

    Args:
        statistics: One mean and standard deviation per channel. Saved with the model, as buffers.

    Raises:
        ValueError: On the forward pass, for another number of channels or another type of pixel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, statistics: InputStatistics) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(statistics.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(statistics.std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Normalise a batch."""
        if images.shape[1] != self.mean.shape[1]:
            raise ValueError(
                f"the model was built for {self.mean.shape[1]} channels, got pictures with {images.shape[1]}"
            )
        if images.dtype == torch.uint8:
            scale = 255.0
        elif images.dtype == torch.uint16:
            scale = 65535.0
        elif images.is_floating_point():
            scale = 1.0
        else:
            raise ValueError(f"pixels must be uint8, uint16 or floating point, got {images.dtype}")
        # Folding the scale into the statistics saves one pass over the full-size picture. Half precision ends at 65504.
        precise = torch.promote_types(self.mean.dtype, torch.float32)
        mean, std = self.mean.to(precise), self.std.to(precise)
        return ((images.to(precise) - mean * scale) / (std * scale)).to(self.mean.dtype)
