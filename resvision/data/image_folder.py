"""Pictures in folders that are named after their classes."""

from pathlib import Path
from typing import Literal, final

from resvision.data.bad_images import OnBadImage
from resvision.data.base import Split
from resvision.data.class_trees import ClassTree, find_trees
from resvision.data.classification import FileSource, check_fractions, divide
from resvision.data.classification_module import ClassificationDataModule
from resvision.data.errors import DataError
from resvision.data.reading import PictureFile
from resvision.data.resident import CropAndFlip
from resvision.data.transforms import Augmentation

__all__ = ["ImageFolder"]


@final
class ImageFolder(ClassificationDataModule):
    """Pictures to classify, in one folder for each class.

    The folders of the classes lie in `root`, or in `root/train`, beside which there may be `val` (or `valid`, or
    `validation`) and `test` with folders of the same classes. What has no folder of its own is held out of training,
    class by class. Folders within those of the classes are searched too. A link to a picture, or in place of the folder
    of a class, is followed wherever it leads; links to folders within those are not.

    In place of the folder of a split there may be an archive, such as `train.zip`, or several, `train_1.zip`,
    `train_2.zip` and so on: they are read as they are. Within them lie the folders of the classes, or one folder of
    the split that holds those.

    Every picture is cut to one size: in training as the augmentation says, otherwise to the middle of it.

    Args:
        root: Folder of the data set.
        image_size: Height and width in pixels at which the model sees pictures.
        val_fraction: Part of each class that is held out for validation where there is no such folder, in 0..1;
            always the same pictures, whatever the `seed`.
        test_fraction: Part of each class that is held out for the test where there is no such folder; 0 has no test.
        train_pictures: Pictures of each class to train on, at most; always the same ones, and those of a smaller number
            are among those of a larger. None takes all.
        in_channels: 3 for RGB, 1 for grey.
        augmentation: A named strength, a list of albumentations' transforms, or `CropAndFlip` on the device.
        on_bad_image: `error` stops at a picture that cannot be read. `skip` reads all pictures once before training,
            leaves the bad ones out, and lists them in `skipped.csv` of the run.
        skip_budget: Part of a split's pictures that may be skipped, in 0..1, rounded up.
        keep_decoded: Part of the machine's memory, in 0..1, that the training and the validation split may take to stay
            decoded, so that no file is read twice; a larger split is read anew in each epoch.
        min_batches: Batches that an epoch of training has at least: a small split is gone through several times in it,
            each time in another order and with other augmentation.
        batch_size: Pictures in a batch, of each process.
        num_workers: Processes that load pictures; None takes none where the model itself runs on the CPU, and
            otherwise as many as there are CPU cores to spare, up to 8.
        seed: Seed of the order and of the augmentation.
    """

    def __init__(
        self,
        root: str,
        *,
        image_size: int = 224,
        val_fraction: float = 0.2,
        test_fraction: float = 0.0,
        train_pictures: int | None = None,
        in_channels: Literal[1, 3] = 3,
        augmentation: Augmentation | CropAndFlip = "light",
        on_bad_image: OnBadImage = "error",
        skip_budget: float = 0.05,
        keep_decoded: float = 0.1,
        min_batches: int = 1,
        batch_size: int = 32,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        self._trees = find_trees(Path(root))
        names = self._trees["train"].several_class_names()
        super().__init__(
            names,
            in_channels,
            image_size=image_size,
            augmentation=augmentation,
            on_bad_image=on_bad_image,
            skip_budget=skip_budget,
            keep_decoded=keep_decoded,
            min_batches=min_batches,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        check_fractions(val_fraction, test_fraction)
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        if train_pictures is not None and train_pictures < 1:
            raise ValueError(f"train_pictures is {train_pictures}; use null for all, or at least 1")
        self.train_pictures = train_pictures
        self._of_class: dict[str, dict[str, PictureFile]] = {}  # of training, which held out splits are parts of

    def source(self, split: Split) -> FileSource:
        """List the pictures of one split."""
        pictures = self._pictures(split)
        return FileSource([file for file, _ in pictures], [label for _, label in pictures], self.channels)

    def _pictures(self, split: Split) -> list[tuple[PictureFile, int]]:
        """Return the files of a split, each with its class."""
        train, tree = self._trees["train"], self._trees.get(split)
        if tree is not None and split != "train":
            _check_classes(tree, train)
            found = [tree.pictures(name).values() for name in self.class_names]
            return [(file, label) for label, files in enumerate(found) for file in files]
        if split == "test" and not self.test_fraction:
            raise DataError(
                f"{train.where()}: the data has no test split; put one into a folder `test` beside `train`, "
                "or set test_fraction, such as 0.1, before training"
            )
        held_out = {
            part: fraction if part not in self._trees else 0.0
            for part, fraction in (("val", self.val_fraction), ("test", self.test_fraction))
        }
        pictures = []
        for label, name in enumerate(self.class_names):
            if name not in self._of_class:
                self._of_class[name] = train.pictures(name)
            files = self._of_class[name]
            parts = divide(list(files), held_out["val"], held_out["test"])
            if not parts["train"]:
                raise DataError(
                    f"{train.where(name)}: {len(files)} pictures are too few to hold out "
                    f"{' and '.join(f'{len(keys)} for {part}' for part, keys in parts.items() if keys)}; "
                    "add pictures, or take the folder out"
                )
            # In the order in which they were divided, which is not that of their names.
            kept = parts[split][: self.train_pictures] if split == "train" else parts[split]
            pictures += [(files[key], label) for key in sorted(kept)]
        return pictures


def _check_classes(tree: ClassTree, train: ClassTree) -> None:
    for one, other in ((tree, train), (train, tree)):
        there = set(other.class_names())
        extra = [name for name in one.class_names() if name not in there]
        if extra:
            raise DataError(
                f"{one.where(extra[0])}: there is no folder of this class in {other.where()}; "
                "both need the same classes"
                + (f", and {len(extra) - 1} more are missing there" if len(extra) > 1 else "")
            )
