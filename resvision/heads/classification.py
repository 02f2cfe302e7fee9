"""The coarsest feature to one score per class."""

from typing import final

from torch import Tensor, nn

__all__ = ["ClassificationHead"]


@final
class ClassificationHead(nn.Module):
    """Average a feature over the picture, then score it by one linear layer (He et al. 2015, arXiv:1512.03385).

    Args:
        in_channels: Channels of the feature.
        num_classes: Scores per picture.
        dropout: Share of the averaged channels that is dropped while training, from 0 to below 1.

    Raises:
        ValueError: `dropout` is out of range.
    """

    def __init__(self, in_channels: int, num_classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1, got {dropout}")
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to logits (N, num_classes)."""
        logits: Tensor = self.fc(self.dropout(x.mean(dim=(2, 3))))
        return logits
