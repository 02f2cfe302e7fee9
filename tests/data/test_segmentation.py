import numpy as np
import torch

from resvision.batch import IGNORE_INDEX
from resvision.data.segmentation import SegmentationDataset, SegmentationSample


def _sample(dtype: type, value: int, index: int) -> SegmentationSample:
    mask = np.full((2, 4), IGNORE_INDEX, np.uint8)
    return SegmentationSample(image=np.full((2, 4, 3), value, dtype), mask=mask, index=index)


def test_collate__keeps_16_bits() -> None:
    batch = SegmentationDataset.collate([_sample(np.uint16, 1, 5), _sample(np.uint16, 65535, 2)])
    assert batch["image"].dtype == torch.uint16
    assert batch["image"][:, 0, 0, 0].tolist() == [1, 65535]
    assert batch["index"].tolist() == [5, 2]
    assert (batch["mask"] == IGNORE_INDEX).all()


def test_collate__keeps_brightness_where_8_and_16_bits_meet() -> None:
    batch = SegmentationDataset.collate(
        [_sample(np.uint8, 255, 0), _sample(np.uint16, 300, 1), _sample(np.uint8, 1, 2)]
    )
    assert batch["image"].dtype == torch.uint16
    assert batch["image"][:, 0, 0, 0].tolist() == [65535, 300, 257]
