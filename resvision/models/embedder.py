"""A backbone whose pictures become points on a sphere: like ones close together."""

from typing import final

from torch import Tensor, nn
from torch.nn import functional as F

from resvision.backbones import Backbone
from resvision.heads import ArcFaceHead
from resvision.layers import InputNormalization

__all__ = ["Embedder"]


@final
class Embedder(nn.Module):
    """Embed pictures, by what tells training classes apart: raw pixels in, unit vectors out.

    An embedding is the coarsest feature, averaged over the picture, and then batch norm, dropout, a linear layer and
    batch norm again (Deng et al. 2019, arXiv:1801.07698, section 3.1, without the average). The layer begins as a
    rotation, so that what the backbone knows of likeness is there from the first step.

    Args:
        backbone: Encoder; its input statistics become the first layer.
        num_classes: Classes, such as people, that are told apart while training.
        embedding_size: Length of an embedding; None is that of the feature.
        margin: Of `ArcFaceHead`, in radians.
        scale: Of `ArcFaceHead`.
        dropout: Share of the pooled channels that is dropped while training, from 0 to below 1.
        mirror: Whether, once trained, an embedding is the mean of a picture's and of its mirror image's, as is usual
            with faces. It takes twice the time.

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
        self._feature, spec = list(backbone.feature_specs.items())[-1]
        size = embedding_size or spec.channels
        linear = nn.Linear(spec.channels, size, bias=False)
        nn.init.orthogonal_(linear.weight)
        self.embedding = nn.Sequential(nn.BatchNorm1d(spec.channels), nn.Dropout(dropout), linear, nn.BatchNorm1d(size))
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

    def _embed(self, images: Tensor) -> Tensor:
        feature = self.backbone(self.normalization(images))[self._feature]
        return F.normalize(self.embedding(feature.mean(dim=(2, 3))).float())
