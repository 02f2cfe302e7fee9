"""What travels from the data to the tasks: plain dictionaries of tensors, pixels as the camera gave them."""

from typing import Final, Literal, TypedDict

from torch import Tensor

__all__ = [
    "IGNORE_INDEX",
    "ClassificationBatch",
    "ClassificationLabels",
    "DetectionBatch",
    "DetectionLabels",
    "LabelKind",
    "MultiLabelBatch",
    "MultiTaskBatch",
    "MultiTaskLabels",
    "SegmentationBatch",
    "SegmentationLabels",
]

#: What a label says: the class of a picture, that of each of its pixels, or where its objects are.
LabelKind = Literal["classification", "segmentation", "detection"]

#: Value of a mask pixel that belongs to no class: it counts in no loss and in no metric. Masks are uint8, so
#: there can be at most 255 classes, 0 to 254.
IGNORE_INDEX: Final = 255


class SegmentationLabels(TypedDict):
    """One class per pixel.

    Attributes:
        mask: (N, H, W), uint8, classes from 0, `IGNORE_INDEX` where a pixel has none.
        index: (N,), int64, position of each picture in its split, to find its file again.
    """

    mask: Tensor
    index: Tensor


class SegmentationBatch(SegmentationLabels):
    """A batch of pictures with one class per pixel.

    Attributes:
        image: (N, C, H, W), uint8 or uint16 as stored in the file, channels last in memory.
    """

    image: Tensor


class ClassificationLabels(TypedDict):
    """One class per picture.

    Attributes:
        label: (N,), int64, classes from 0.
        index: (N,), int64, position of each picture in its split, to find its file again.
    """

    label: Tensor
    index: Tensor


class ClassificationBatch(ClassificationLabels):
    """A batch of pictures with one class each.

    Attributes:
        image: (N, C, H, W), uint8 or uint16 as stored in the file, channels last in memory.
    """

    image: Tensor


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


class DetectionLabels(TypedDict):
    """Boxes around objects.

    Boxes are (x1, y1, x2, y2) in pixels of the picture as it lies in the batch; the left upper corner of the left upper
    pixel is (0, 0). A picture may have none.

    Attributes:
        boxes: N of (K_i, 4), float32, each of positive width and height, and inside the picture's content.
        labels: N of (K_i,), int64, classes from 0.
        crowd: N of (K_i,), bool, whether a box is around a crowd, or else counts in no score: it trains nothing.
        area: N of (K_i,), float32, size of each object in pixels of the original picture, as COCO sorts by it.
        size: (N, 2), int64, height and width of the picture's content in the batch, without padding.
        original_size: (N, 2), int64, height and width of the picture before it was resized.
        index: (N,), int64, position of each picture in its split, to find its file again.
    """

    boxes: list[Tensor]
    labels: list[Tensor]
    crowd: list[Tensor]
    area: list[Tensor]
    size: Tensor
    original_size: Tensor
    index: Tensor


class DetectionBatch(DetectionLabels):
    """A batch of pictures with boxes around objects, padded with zeros at the bottom and on the right to one size.

    Attributes:
        image: (N, C, H, W), uint8 or uint16 as stored in the file, channels last in memory.
    """

    image: Tensor


class MultiTaskLabels(TypedDict, total=False):
    """Labels of several kinds, each of the pictures that have one; a kind that no picture has is left out."""

    classification: ClassificationLabels
    segmentation: SegmentationLabels
    detection: DetectionLabels


class MultiTaskBatch(TypedDict):
    """A batch of pictures with labels of several kinds; a picture may lack some, but not all.

    Attributes:
        image: (N, C, H, W), uint8 or uint16 as stored in the file, channels last in memory.
        labels: The labels by their kind.
        rows: By the same kinds, (M,), int64, ascending: which pictures of the batch have such a label.
        index: (N,), int64, position of each picture in its split, to find its file again.
    """

    image: Tensor
    labels: MultiTaskLabels
    rows: dict[LabelKind, Tensor]
    index: Tensor
