import pytest
import torch
from torch.nn import functional as F

from resvision.backbones import create_backbone
from resvision.layers import enlarge
from resvision.models import ResUNet


@pytest.fixture(params=[False, True], ids=["fast", "deterministic"], autouse=True)
def _algorithms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: request.param)


@pytest.mark.parametrize("size", [(10, 16), (9, 16), (9, 13)])
def test_enlarge__keeps_the_place_of_every_value(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, 5, 8)
    expected = F.interpolate(x, size=(10, 16), mode="bilinear")[..., : size[0], : size[1]]
    assert torch.equal(enlarge(x, 2, size), expected)


def test_enlarge__continues_the_edge_of_a_map_that_falls_short() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    larger = enlarge(x, 4, (11, 14))
    assert torch.equal(larger[..., :8, :12], F.interpolate(x, scale_factor=4, mode="bilinear"))
    assert larger[0, 0, :, -1].tolist() == pytest.approx([2, 2, 2.375, 3.125, 3.875, 4.625, 5, 5, 5, 5, 5])
    assert torch.equal(larger[..., 8:, :], larger[..., 7:8, :].expand(-1, -1, 3, -1))


def test_enlarge__a_remainder_below_does_not_move_what_is_above() -> None:
    """At a height that is no multiple of 32 a network sees what it sees at the next one, but for the border."""
    torch.manual_seed(0)
    network = ResUNet(create_backbone("resnet10t"), 3, decoder_stride=2).eval()
    pictures = torch.rand(1, 3, 512, 64)
    with torch.inference_mode():
        whole, cut = network(pictures), network(pictures[..., :456, :])
    # The field of view of this network ends within 200 rows; beyond it, nothing may differ.
    torch.testing.assert_close(cut[..., :256, :], whole[..., :256, :], rtol=1e-4, atol=1e-4)
