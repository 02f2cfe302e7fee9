"""Embeddings at the start, against a computation by hand."""

import torch
from torch.nn import functional as F

from resvision.models import Embedder
from tests.models.toy import ToyBackbone


def _pictures(count: int = 8) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_embedder__begins_with_the_likeness_of_the_standardised_feature() -> None:
    model = Embedder(ToyBackbone(), num_classes=4)
    pictures = _pictures()
    with torch.no_grad():
        embeddings = model(pictures)
        feature = model.backbone(model.normalization(pictures))["stage1"].mean(dim=(2, 3))
        # Where there are as many pictures as in a batch, batch norm standardises by their own mean and deviation.
        standardised = (feature - feature.mean(dim=0)) / (feature.var(dim=0, unbiased=False) + 1e-5).sqrt()
        rotated = standardised @ model.embedding[2].weight.T
        again = (rotated - rotated.mean(dim=0)) / (rotated.var(dim=0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(rotated @ rotated.T, standardised @ standardised.T, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(embeddings, F.normalize(again), rtol=1e-3, atol=1e-4)


def test_embedder__scores_by_the_angle_with_a_margin() -> None:
    model = Embedder(ToyBackbone(), num_classes=4, embedding_size=6, margin=0.2, scale=10.0).eval()
    pictures, label = _pictures(), torch.arange(8) % 4
    with torch.no_grad():
        embeddings, logits = model(pictures), model.logits(pictures, label)
        angle = (embeddings @ F.normalize(model.head.weight).T).acos()
        angle[torch.arange(8), label] += 0.2
    assert embeddings.shape == (8, 6)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(8))
    torch.testing.assert_close(logits, 10 * angle.cos(), rtol=1e-3, atol=1e-3)


def test_embedder__trains_every_parameter() -> None:
    model = Embedder(ToyBackbone(), num_classes=4)
    F.cross_entropy(model.logits(_pictures(), torch.arange(8) % 4), torch.arange(8) % 4).backward()  # type: ignore[no-untyped-call]
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_embedder__mirror_averages_a_picture_and_its_mirror_image() -> None:
    model, pictures = Embedder(ToyBackbone(), num_classes=4, mirror=True).eval(), _pictures()
    alone = Embedder(ToyBackbone(), num_classes=4).eval()
    alone.load_state_dict(model.state_dict())
    with torch.no_grad():
        both = model(pictures)
        torch.testing.assert_close(both, model(pictures.flip(3)))
        torch.testing.assert_close(both, F.normalize((alone(pictures) + alone(pictures.flip(3))) / 2))
        # Each picture trains as it is: the loader mirrors at random where the augmentation says so.
        torch.testing.assert_close(model.train()(pictures), alone.train()(pictures))
