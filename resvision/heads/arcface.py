"""Embeddings on a sphere to one score per identity."""

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ArcFaceHead"]


@final
class ArcFaceHead(nn.Module):
    """Score embeddings by their angles to one direction per class (Deng et al. 2019, arXiv:1801.07698, equation 3).

    While training, the angle to the true class is made larger by a margin, so that embeddings of a class gather closer
    than the scores alone would ask for. With a margin that could take the angle beyond a half turn, where the cosine
    rises again, the score falls on in a straight line instead, as in the authors' program.

    Args:
        in_channels: Length of an embedding.
        num_classes: Scores per picture.
        margin: Angle that is added, in radians, from 0 to below pi / 2.
        scale: What the cosines are multiplied by, above 0.

    Raises:
        ValueError: `margin` or `scale` is out of range.
    """

    def __init__(self, in_channels: int, num_classes: int, *, margin: float = 0.5, scale: float = 64.0) -> None:
        super().__init__()
        if not 0 <= margin < math.pi / 2:
            raise ValueError(f"margin is an angle from 0 to below pi / 2, got {margin}")
        if not 0 < scale < math.inf:
            raise ValueError(f"scale must be above 0, got {scale}")
        self.margin = margin
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(num_classes, in_channels))
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, embeddings: Tensor, label: Tensor | None = None) -> Tensor:
        """Map embeddings (N, in_channels) of any length, with classes (N,) if there is to be a margin, to logits.

        Returns:
            (N, num_classes), in fp32.
        """
        # Angles below a degree are lost in bf16.
        with torch.autocast(embeddings.device.type, enabled=False):
            cosine = F.linear(F.normalize(embeddings.float()), F.normalize(self.weight.float()))
            if label is None:
                return self.scale * cosine
            true = cosine.gather(1, label[:, None])
            sine = (1 - true.square()).clamp_min(1e-7).sqrt()  # the floor keeps its slope finite
            turned = true * math.cos(self.margin) - sine * math.sin(self.margin)
            straight = true - self.margin * math.sin(self.margin)
            turned = torch.where(true > -math.cos(self.margin), turned, straight)
            return self.scale * cosine.scatter(1, label[:, None], turned)

    def extra_repr(self) -> str:
        """Show the sizes when the module is printed."""
        classes, channels = self.weight.shape
        return f"{channels}, {classes}, margin={self.margin:g}, scale={self.scale:g}"
