"""Pictures with boxes in COCO's format."""

from pathlib import Path
from typing import Literal, final

from resvision.data.detection import DetectionDataModule
from resvision.data.detection_coco import CocoFolder, CocoSplit
from resvision.data.transforms import Augmentation

__all__ = ["CocoDetection", "CocoSplit"]


@final
class CocoDetection(DetectionDataModule):
    """Pictures with boxes in COCO's format, a JSON file for each split.

    Files that are not named are looked for in the folder and in those within it: JSON files that are called after a
    split, such as `annotations/instances_train2017.json` or `train/_annotations.coco.json`, and their pictures beside
    them, in `images`, or in folders that are called after the split.

    The classes are the categories of the training file, in the order of their ids; gaps between ids do not matter. A
    box around a crowd neither trains nor counts. Pictures without objects are kept. Boxes are clipped to their picture
    and those of no size dropped; how many is logged.

    Args:
        root: Folder of the data set.
        train: Files of the training split; None looks for them.
        val: Files of the validation split; None looks for them, and holds out a part of the training split if there are
            none.
        test: Files of the test split; None looks for them.
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
        train: CocoSplit | None = None,
        val: CocoSplit | None = None,
        test: CocoSplit | None = None,
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
            CocoFolder(Path(root), {"train": train, "val": val, "test": test}),
            image_size=image_size,
            val_fraction=val_fraction,
            in_channels=in_channels,
            augmentation=augmentation,
            mosaic=mosaic,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
