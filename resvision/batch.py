"""What travels from the data to the tasks: plain dictionaries of tensors, pixels as the camera gave them."""

from typing import Final, TypedDict

from torch import Tensor

__all__ = ["IGNORE_INDEX", "ClassificationBatch", "DetectionBatch", "MultiLabelBatch", "SegmentationBatch"]

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


class DetectionBatch(TypedDict):
    """A batch of pictures with boxes around objects.

    Pictures are padded with zeros at the bottom and on the right to the size of the batch. Boxes are (x1, y1, x2, y2)
    in pixels of the picture as it lies in the batch; the left upper corner of the left upper pixel is (0, 0). A picture
    may have none.

    Attributes:
        image: (N, C, H, W), uint8 or uint16 as stored in the file, channels last in memory.
        boxes: N of (K_i, 4), float32, each of positive width and height, and inside the picture's content.
        labels: N of (K_i,), int64, classes from 0.
        crowd: N of (K_i,), bool, whether a box is around a crowd, or else counts in no score: it trains nothing.
        area: N of (K_i,), float32, size of each object in pixels of the original picture, as COCO sorts by it.
        size: (N, 2), int64, height and width of the content of `image`, without the padding.
        original_size: (N, 2), int64, height and width of the picture before it was resized.
        index: (N,), int64, position of each picture in its split, to find its file again.
    """

    image: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]
    crowd: list[Tensor]
    area: list[Tensor]
    size: Tensor
    original_size: Tensor
    index: Tensor
