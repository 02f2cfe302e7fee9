import torch
from torch.nn import functional as F

from resvision.heads import SegmentationHead


def test_segmentation_head__scores_then_enlarges_as_enlarging_then_scoring() -> None:
    head = SegmentationHead(6, 3, stride=2)
    x = torch.randn(2, 6, 5, 4)
    expected = head.conv(F.interpolate(x, size=(10, 8), mode="bilinear"))[:, :, :9]
    torch.testing.assert_close(head(x, (9, 8)), expected)


def test_segmentation_head__gives_fp32_under_autocast() -> None:
    head = SegmentationHead(6, 3, stride=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = head(torch.randn(2, 6, 5, 4), (9, 8))
    assert logits.dtype == torch.float32
