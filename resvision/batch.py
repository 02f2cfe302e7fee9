"""What travels from the data to the tasks: plain dictionaries of tensors, pixels as the camera gave them."""

from typing import Final, TypedDict

from torch import Tensor

__all__ = ["IGNORE_INDEX", "ClassificationBatch", "MultiLabelBatch", "SegmentationBatch"]

#: Value of a mask pixel that belongs to no class: it counts in no loss and in no metric. Masks are uint8, so
#: there can be at most 255 classes, 0 to 254.
IGNORE_INDEX: Final = 255


class SegmentationBatch(TypedDict):
    """A batch of pictures with one class per pixel.

    Attributes:
        image: (N, C, H, W), uint8 or uint16 as stored in the file, channels last in memory.
        mask: (N, H, W), uint8, classes from 0, `IGNORE_INDEX` where a pixel has none.
        index: (N,), int64, position of each picture in its split, to find its file again.
    """

    image: Tensor
    mask: Tensor
    index: Tensor


class ClassificationBatch(TypedDict):
    """A batch of pictures with one class each.

    Attributes:
        image: (N, C, H, W), uint8 or uint16 as stored in the file, channels last in memory.
        label: (N,), int64, classes from 0.
        index: (N,), int64, position of each picture in its split, to find its file again.
    """

    image: Tensor
    label: Tensor
    index: Tensor


class MultiLabelBatch(TypedDict):
    """A batch of pictures with any number of classes each.

    Attributes:
        image: (N, C, H, W), uint8 or uint16 as stored in the file, channels last in memory.
        label: (N, num_classes), float32, 1 where the picture shows the class and 0 where not.
        index: (N,), int64, position of each picture in its split, to find its file again.
    """

    image: Tensor
    label: Tensor
    index: Tensor
