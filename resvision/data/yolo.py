"""Pictures with boxes in YOLO's format."""

from pathlib import Path
from typing import Literal, final

from resvision.data.detection import DetectionDataModule
from resvision.data.detection_yolo import YoloFolder
from resvision.data.transforms import Augmentation

__all__ = ["YoloDetection"]


@final
class YoloDetection(DetectionDataModule):
    """Pictures with boxes in YOLO's format, a text file for each picture and a `data.yaml`.

    `data.yaml` names the classes and the folders of the splits; without `val` a part is held out for validation. Label
    files lie where `images` in the path of a picture is replaced with `labels`, or beside the picture. A line may also
    hold the outline of an object, whose box is taken.

    A picture without a label file, or with an empty one, has no objects and is kept. Boxes are clipped to their picture
    and those of no size dropped; how many is logged.

    Args:
        root: Folder of the data set.
        data_yaml: File below the root that describes the data set.
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
        data_yaml: str = "data.yaml",
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
            YoloFolder(Path(root), data_yaml),
            image_size=image_size,
            val_fraction=val_fraction,
            in_channels=in_channels,
            augmentation=augmentation,
            mosaic=mosaic,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
