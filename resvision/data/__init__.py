"""Data sets as Lightning datamodules, and the one reader of pictures.

The names below are imported when they are first used: reading a picture needs neither Lightning nor
albumentations.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resvision.data.base import VisionDataModule, VisionDataset
    from resvision.data.classification import ClassificationDataset, ClassificationSource, FileSource
    from resvision.data.classification_module import ClassificationDataModule
    from resvision.data.coco import CocoDetection, CocoSplit
    from resvision.data.errors import DataError
    from resvision.data.fitting import fit_to
    from resvision.data.huggingface_dataset import HuggingFaceDataset
    from resvision.data.identity_folder import IdentityFolder
    from resvision.data.image_csv import Columns, ImageCSV
    from resvision.data.image_folder import ImageFolder
    from resvision.data.jpeg import Picture
    from resvision.data.mask_folder import MaskFolder
    from resvision.data.multi_task import MultiTaskDataset, MultiTaskSource
    from resvision.data.pairing import Folders
    from resvision.data.reading import image_size, open_image, read_image, read_mask
    from resvision.data.resident import CropAndFlip
    from resvision.data.sampler import EpochSampler, SampleKey
    from resvision.data.seeding import fold
    from resvision.data.shapes import Shapes
    from resvision.data.sharded_images import ShardedImages
    from resvision.data.torchvision_dataset import TorchvisionDataset
    from resvision.data.voc import VocDetection
    from resvision.data.yolo import YoloDetection

_HOME = {
    "ClassificationDataModule": "classification_module",
    "ClassificationDataset": "classification",
    "ClassificationSource": "classification",
    "CocoDetection": "coco",
    "CocoSplit": "coco",
    "Columns": "image_csv",
    "CropAndFlip": "resident",
    "DataError": "errors",
    "EpochSampler": "sampler",
    "FileSource": "classification",
    "Folders": "pairing",
    "HuggingFaceDataset": "huggingface_dataset",
    "IdentityFolder": "identity_folder",
    "ImageCSV": "image_csv",
    "ImageFolder": "image_folder",
    "MaskFolder": "mask_folder",
    "MultiTaskDataset": "multi_task",
    "MultiTaskSource": "multi_task",
    "Picture": "jpeg",
    "SampleKey": "sampler",
    "Shapes": "shapes",
    "ShardedImages": "sharded_images",
    "TorchvisionDataset": "torchvision_dataset",
    "VisionDataModule": "base",
    "VisionDataset": "base",
    "VocDetection": "voc",
    "YoloDetection": "yolo",
    "fit_to": "fitting",
    "fold": "seeding",
    "image_size": "reading",
    "open_image": "reading",
    "read_image": "reading",
    "read_mask": "reading",
}

__all__ = [
    "ClassificationDataModule",
    "ClassificationDataset",
    "ClassificationSource",
    "CocoDetection",
    "CocoSplit",
    "Columns",
    "CropAndFlip",
    "DataError",
    "EpochSampler",
    "FileSource",
    "Folders",
    "HuggingFaceDataset",
    "IdentityFolder",
    "ImageCSV",
    "ImageFolder",
    "MaskFolder",
    "MultiTaskDataset",
    "MultiTaskSource",
    "Picture",
    "SampleKey",
    "Shapes",
    "ShardedImages",
    "TorchvisionDataset",
    "VisionDataModule",
    "VisionDataset",
    "VocDetection",
    "YoloDetection",
    "fit_to",
    "fold",
    "image_size",
    "open_image",
    "read_image",
    "read_mask",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'resvision.data' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"resvision.data.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
