"""A backbone whose pictures become points on a sphere: like ones close together."""

from collections.abc import Sequence
from typing import Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resvision.backbones import Backbone
from resvision.heads import ArcFaceHead
from resvision.layers import InputNormalization, check_choice, check_whole

__all__ = ["Embedder"]

#: Part of the correlations that whitening does not believe.
_SHRINKAGE: Final = 0.3


@final
class Embedder(nn.Module):
    """Embed pictures, by what tells training classes apart: raw pixels in, unit vectors out.

    An embedding is the coarsest feature, or several side by side, averaged over the picture, and then batch norm,
    dropout, a linear layer and batch norm again (Deng et al. 2019, arXiv:1801.07698, section 3.1, without the average).
    The layer begins as a rotation, so that what the backbone knows of likeness is there from the first step; `whiten`
    begins it better.

    Args:
        backbone: Encoder; its input statistics become the first layer.
        num_classes: Classes, such as people, that are told apart while training.
        features: Names of the backbone's features that are averaged; None is the coarsest alone.
        embedding_size: Length of an embedding; None is that of the features.
        margin: Of `ArcFaceHead`, in radians.
        scale: Of `ArcFaceHead`.
        dropout: Share of the pooled channels that is dropped while training, from 0 to below 1.
        mirror: Whether, once trained, an embedding is the mean of a picture's and of its mirror image's, as is usual
            with faces. It takes twice the time.

    Raises:
        ValueError: The backbone has no such feature, there is to be none, or a number is out of range.

    Example:
        >>> model = Embedder(create_backbone("resnet18"), num_classes=30)
        >>> model(torch.zeros(1, 3, 112, 112, dtype=torch.uint8)).shape
        torch.Size([1, 512])
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        features: Sequence[str] | None = None,
        embedding_size: int | None = None,
        margin: float = 0.5,
        scale: float = 64.0,
        dropout: float = 0.0,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        self.mirror = mirror
        self.normalization = InputNormalization(backbone.input_statistics)
        self.backbone = backbone
        specs = backbone.feature_specs
        if embedding_size is not None:
            check_whole("embedding_size", embedding_size, 1)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1, got {dropout}")
        self._features = list(specs)[-1:] if features is None else list(features)
        if not self._features:
            raise ValueError(f"features must name one of {', '.join(specs)} at least, got {features!r}")
        for name in self._features:
            check_choice("features", name, list(specs))
        channels = sum(specs[name].channels for name in self._features)
        size = channels if embedding_size is None else embedding_size
        linear = nn.Linear(channels, size, bias=False)
        nn.init.orthogonal_(linear.weight)
        self.embedding = nn.Sequential(nn.BatchNorm1d(channels), nn.Dropout(dropout), linear, nn.BatchNorm1d(size))
        self.head = ArcFaceHead(size, num_classes, margin=margin, scale=scale)

    def forward(self, images: Tensor) -> Tensor:
        """Map pixels (N, C, H, W), uint8, uint16 or floating in 0..1, to unit vectors (N, embedding_size), in fp32.

        The product of two is the cosine of the angle between them: 1 for the same, about 0 for strangers.
        """
        embeddings = self._embed(images)
        if self.mirror and not self.training:
            embeddings = F.normalize(embeddings + self._embed(images.flip(3)))
        return embeddings

    def logits(self, images: Tensor, label: Tensor) -> Tensor:
        """Map pixels and classes (N,) to the scores (N, num_classes) to train by."""
        logits: Tensor = self.head(self(images), label)
        return logits

    def pooled(self, images: Tensor) -> Tensor:
        """Map pixels (N, C, H, W) to the averages of the features over the picture, (N, channels)."""
        features = self.backbone(self.normalization(images))
        return torch.cat([features[name].mean(dim=(2, 3)) for name in self._features], dim=1)

    @torch.no_grad()
    def whiten(self, correlation: Tensor) -> None:
        """Begin the linear layer as what makes pooled features vary alike in all directions.

        What a backbone learned from other pictures varies most in what all of these share. The correlations of a few
        pictures are believed in part only (Ledoit, Wolf 2004, doi:10.1016/S0047-259X(03)00096-4).

        Args:
            correlation: (channels, channels), of the pooled features over training pictures.

        Raises:
            ValueError: Embeddings have another length than the pooled features.
        """
        linear = self.embedding[2]
        assert isinstance(linear, nn.Linear)
        weight = linear.weight
        if weight.shape != correlation.shape:
            raise ValueError(f"{weight.shape[1]} pooled features are whitened to as many, not {weight.shape[0]}")
        shrunk = (1 - _SHRINKAGE) * correlation.double().cpu() + _SHRINKAGE * torch.eye(len(correlation)).double()
        values, vectors = torch.linalg.eigh(shrunk)
        weight.copy_(vectors / values.sqrt() @ vectors.T)

    def _embed(self, images: Tensor) -> Tensor:
        return F.normalize(self.embedding(self.pooled(images)).float())
