"""Embeddings at the start, against a computation by hand."""

import math
from typing import Any

import numpy as np
import pytest
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


def test_embedder__puts_several_features_side_by_side() -> None:
    model, pictures = Embedder(ToyBackbone(), num_classes=4, features=["stem", "stage1"]).eval(), _pictures()
    with torch.no_grad():
        features = model.backbone(model.normalization(pictures))
        expected = torch.cat([features["stem"].mean(dim=(2, 3)), features["stage1"].mean(dim=(2, 3))], dim=1)
        torch.testing.assert_close(model.pooled(pictures), expected)
        assert model(pictures).shape == (8, 24)
    with pytest.raises(ValueError, match="features must be one of 'stem', 'stage1', got 'stage2'"):
        Embedder(ToyBackbone(), num_classes=4, features=["stage2"])


def test_whiten__makes_what_it_believes_of_the_correlations_vary_alike() -> None:
    model = Embedder(ToyBackbone(), num_classes=4)
    rng = np.random.default_rng(0)
    correlation = np.corrcoef(rng.standard_normal((16, 40)) + rng.standard_normal(40))
    model.whiten(torch.from_numpy(correlation))
    weight = model.state_dict()["embedding.2.weight"].double().numpy()
    believed = 0.7 * correlation + 0.3 * np.eye(16)
    np.testing.assert_allclose(weight @ believed @ weight.T, np.eye(16), atol=1e-5)
    np.testing.assert_allclose(weight, weight.T, atol=1e-6)
    other = Embedder(ToyBackbone(), num_classes=4, embedding_size=6)
    with pytest.raises(ValueError, match="16 pooled features are whitened to as many, not 6"):
        other.whiten(torch.from_numpy(correlation))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"embedding_size": 0}, "embedding_size must be a whole number of at least 1, got 0"),
        ({"embedding_size": -1}, "embedding_size must be a whole number of at least 1, got -1"),
        ({"features": []}, r"features must name one of .*stage1 at least, got \[\]"),
        ({"dropout": math.nan}, "dropout must be from 0 to below 1, got nan"),
        ({"dropout": 1.0}, "dropout must be from 0 to below 1, got 1.0"),
    ],
)
def test_embedder__refuses_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Embedder(ToyBackbone(), num_classes=4, **settings)
