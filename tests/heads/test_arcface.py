import math

import pytest
import torch
from torch.nn import functional as F

from resvision.heads import ArcFaceHead


def test_arcface__adds_the_margin_to_the_angle_of_the_truth() -> None:
    head = ArcFaceHead(2, 3, margin=0.5, scale=10.0)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0]]))
    # Of any length: what counts are angles, here 30 and 100 degrees from the first direction.
    angles = [math.radians(30), math.radians(100)]
    embeddings = torch.tensor([[5 * math.cos(a), 5 * math.sin(a)] for a in angles])
    found = head(embeddings, torch.tensor([0, 1]))
    plain = [[10 * math.cos(a - b) for b in (0, math.pi / 2, math.pi)] for a in angles]
    torch.testing.assert_close(head(embeddings), torch.tensor(plain), atol=1e-4, rtol=1e-4)
    plain[0][0] = 10 * math.cos(angles[0] + 0.5)
    plain[1][1] = 10 * math.cos(math.radians(10) + 0.5)
    torch.testing.assert_close(found, torch.tensor(plain), atol=1e-4, rtol=1e-4)


def test_arcface__falls_on_where_the_angle_would_pass_a_half_turn() -> None:
    head = ArcFaceHead(2, 2, margin=0.5, scale=1.0)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    angles = torch.linspace(0, math.pi, 200)
    embeddings = torch.stack([angles.cos(), angles.sin()], dim=1).requires_grad_()
    scores = head(embeddings, torch.zeros(200, dtype=torch.long))[:, 0]
    assert (scores.diff() < 0).all()
    scores.sum().backward()
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()


def test_arcface__is_a_softmax_of_cosines_without_a_margin() -> None:
    head, embeddings, label = ArcFaceHead(4, 3, margin=0.0), torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    torch.testing.assert_close(head(embeddings, label), head(embeddings))
    expected = 64 * F.cosine_similarity(embeddings[:, None], head.weight[None], dim=2)
    torch.testing.assert_close(head(embeddings), expected, atol=1e-4, rtol=1e-4)


def test_arcface__computes_in_fp32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert ArcFaceHead(4, 3)(torch.randn(5, 4).bfloat16(), torch.zeros(5, dtype=torch.long)).dtype == torch.float32


@pytest.mark.parametrize(("arguments", "message"), [({"margin": 2.0}, "below pi / 2"), ({"scale": 0.0}, "above 0")])
def test_arcface__refuses_what_cannot_be(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ArcFaceHead(2, 3, **arguments)
