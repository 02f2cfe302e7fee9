"""Shapes, first values and order of what the head says."""

import pytest
import torch
from torch import nn

from resvision.heads import DetectionHead


@pytest.mark.parametrize("centerness", [True, False])
def test_head__says_all_in_fp32_level_by_level(centerness: bool) -> None:
    head = DetectionHead(32, 3, num_levels=2, depth=1, centerness=centerness)
    levels = [torch.randn(2, 32, 4, 6), torch.randn(2, 32, 2, 3)]
    with torch.autocast("cpu", torch.bfloat16):
        logits, distances, central = head(levels)
    assert (logits.shape, distances.shape) == ((2, 30, 3), (2, 30, 4))
    assert {logits.dtype, distances.dtype} == {torch.float32}
    assert (central is not None) == centerness
    assert central is None or central.shape == (2, 30)


def test_head__begins_with_rare_objects_in_boxes_of_eight_strides() -> None:
    head = DetectionHead(64, 5, num_levels=1)
    logits, distances, _ = head([torch.randn(1, 64, 8, 8)])
    assert logits.sigmoid().mean().item() == pytest.approx(0.01, rel=0.2)
    assert distances.mean().item() == pytest.approx(4.0, rel=0.1)
    assert distances.min().item() > 2


def test_head__orders_places_row_by_row() -> None:
    head = DetectionHead(32, 2, num_levels=2, depth=0)
    levels = [torch.randn(1, 32, 3, 4), torch.randn(1, 32, 2, 2)]
    logits = head(levels)[0]
    torch.testing.assert_close(logits[0, 6], head.classes(levels[0])[0, :, 1, 2])
    torch.testing.assert_close(logits[0, 12 + 2], head.classes(levels[1])[0, :, 1, 0])


@pytest.mark.parametrize(("channels", "groups"), [(8, 1), (32, 4), (66, 2), (100, 4), (130, 2), (256, 32)])
def test_head__has_groups_that_divide_its_channels(channels: int, groups: int) -> None:
    norm = DetectionHead(channels, 2, num_levels=1, depth=1).box_branch[1]
    assert isinstance(norm, nn.GroupNorm)
    assert norm.num_groups == groups


def test_head__scales_each_level_by_itself() -> None:
    head = DetectionHead(32, 2, num_levels=2, depth=0)
    levels = [torch.randn(1, 32, 1, 1)] * 2
    with torch.no_grad():
        head.scales.copy_(torch.tensor([1.0, 3.0]))
    distances = head(levels)[1]
    torch.testing.assert_close(distances[0, 1], 3 * distances[0, 0])
