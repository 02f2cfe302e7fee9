"""Pictures with boxes in Pascal VOC's format."""

from pathlib import Path
from typing import Literal, final

from resvision.data.detection import DetectionDataModule
from resvision.data.detection_voc import VocFolder
from resvision.data.transforms import Augmentation

__all__ = ["VocDetection"]


@final
class VocDetection(DetectionDataModule):
    """Pictures with boxes in Pascal VOC's format, an XML file for each picture.

    The splits are the lists `train.txt`, `val.txt` and `test.txt` in `ImageSets/Main`, or else folders that are called
    after them; without either a part is held out for validation. The XML files lie in `Annotations` and the pictures in
    `JPEGImages` or `images`, or both together. A picture is known by the name of its XML file.

    An object that is marked `difficult` neither trains nor counts. Pictures without objects are kept. Boxes are clipped
    to their picture, swapped corners put in order and boxes of no size dropped; how many is logged. Corners are taken
    as they stand, in pixels from 0, but in Pascal's own files, which count from 1.

    Args:
        root: Folder of the data set.
        class_names: Names of the classes in the order of their numbers. None takes them from `classes.txt` in `root`,
            or all that are found, in the order of the alphabet.
        train: List in `ImageSets/Main`, such as `trainval`; None takes `train`, or `trainval`.
        val: List of the validation split; None takes `val`, or holds out a part where there is none or where `train` is
            named.
        test: List of the test split; None takes `test`.
        image_size: Length in pixels to which the short side of a picture is resized, where the long one may be at most
            5/3 of that; or a height and width into which pictures are fitted. Batches are padded to multiples of 32.
        val_fraction: Part of the training split that is held out, in 0..1; always the same pictures.
        in_channels: 3 for RGB, 1 for grey.
        augmentation: A named strength, or a list of albumentations' transforms, which get the pictures before they are
            resized.
        mosaic: Part of the training samples, in 0..1, that are put together from four pictures.
        batch_size: Pictures in a batch, of each process.
        num_workers: Processes that load pictures; None takes none where the model itself runs on the CPU, and
            otherwise as many as there are CPU cores to spare, up to 8.
        seed: Seed of the order and of the augmentation.
    """

    def __init__(
        self,
        root: str,
        *,
        class_names: list[str] | None = None,
        train: str | None = None,
        val: str | None = None,
        test: str | None = None,
        image_size: int | tuple[int, int] = 480,
        val_fraction: float = 0.2,
        in_channels: Literal[1, 3] = 3,
        augmentation: Augmentation = "light",
        mosaic: float = 0.0,
        batch_size: int = 8,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            VocFolder(Path(root), {"train": train, "val": val, "test": test}, class_names),
            image_size=image_size,
            val_fraction=val_fraction,
            in_channels=in_channels,
            augmentation=augmentation,
            mosaic=mosaic,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
