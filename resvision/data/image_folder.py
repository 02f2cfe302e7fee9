"""Pictures in folders that are named after their classes."""

from pathlib import Path
from typing import Any, Final, Literal, final

from numpy.typing import NDArray

from resvision.data.base import Split, VisionDataModule
from resvision.data.classification import ClassificationDataset, ClassificationSource, divide
from resvision.data.errors import DataError
from resvision.data.reading import IMAGE_SUFFIXES, read_image
from resvision.data.transforms import Augmentation, ClassificationTransform

__all__ = ["ImageFolder"]

#: What the folders of the splits may be called.
_SPLIT_FOLDERS: Final[dict[Split, tuple[str, ...]]] = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}


@final
class ImageFolder(VisionDataModule):
    """Pictures to classify, in one folder for each class.

    The folders of the classes lie in `root`, or in `root/train`, beside which there may be `val` (or `valid`, or
    `validation`) and `test` with folders of the same classes. What has no folder of its own is held out of training,
    class by class. Folders within those of the classes are searched too; a link is followed wherever it leads.

    Every picture is cut to one size: in training as the augmentation says, otherwise to the middle of it.

    Args:
        root: Folder of the data set.
        image_size: Height and width in pixels at which the model sees pictures.
        val_fraction: Part of each class that is held out for validation where there is no such folder, in 0..1;
            always the same pictures, whatever the `seed`.
        test_fraction: Part of each class that is held out for the test where there is no such folder; 0 has no test.
        in_channels: 3 for RGB, 1 for grey.
        augmentation: A named strength, or a list of albumentations' transforms.
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
        in_channels: Literal[1, 3] = 3,
        augmentation: Augmentation = "light",
        batch_size: int = 32,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        self.folders = _split_folders(Path(root))
        names = _class_folders(self.folders["train"])
        super().__init__(names, in_channels, batch_size=batch_size, num_workers=num_workers, seed=seed)
        if not (0 < val_fraction < 1 and 0 <= test_fraction < 1 and val_fraction + test_fraction < 1):
            raise ValueError(
                f"val_fraction is {val_fraction} and test_fraction {test_fraction}; "
                "both are parts of 1, the first above 0, and leave something to train on"
            )
        self.val_fraction = val_fraction
        self.test_fraction = test_fraction
        self.channels = in_channels
        self.image_size = image_size
        self.transform = ClassificationTransform(augmentation, image_size)

    def build(self, split: Split) -> ClassificationDataset:
        """List the pictures of one split."""
        source = _FolderSource(self._pictures(split), self.channels)
        transform = self.transform if split == "train" else None
        return ClassificationDataset(source, self.image_size, transform, seed=self.seed)

    def _pictures(self, split: Split) -> list[tuple[Path, int]]:
        """Return the files of a split, each with its class."""
        folder = self.folders.get(split)
        if folder is not None and split != "train":
            _check_classes(folder, _class_folders(folder), self.folders["train"], self.class_names)
            return [(path, label) for label, name in enumerate(self.class_names) for path in _find(folder / name)]
        if split == "test" and not self.test_fraction:
            raise DataError(
                f"{self.folders['train']}: the data has no test split; put one into a folder `test` beside `train`, "
                "or set test_fraction, such as 0.1, before training"
            )
        held_out = {
            part: fraction if part not in self.folders else 0.0
            for part, fraction in (("val", self.val_fraction), ("test", self.test_fraction))
        }
        pictures = []
        for label, name in enumerate(self.class_names):
            folder = self.folders["train"] / name
            files = {path.relative_to(folder.parent).as_posix(): path for path in _find(folder)}
            parts = divide(list(files), held_out["val"], held_out["test"])
            if not parts["train"]:
                raise DataError(
                    f"{folder}: {len(files)} pictures are too few to hold out "
                    f"{' and '.join(f'{len(keys)} for {part}' for part, keys in parts.items() if keys)}; "
                    "add pictures, or take the folder out"
                )
            pictures += [(files[key], label) for key in sorted(parts[split])]
        return pictures


@final
class _FolderSource(ClassificationSource):
    """Files with their classes."""

    def __init__(self, pictures: list[tuple[Path, int]], channels: Literal[1, 3]) -> None:
        self._pictures = pictures
        self._channels = channels

    def __len__(self) -> int:
        return len(self._pictures)

    def read(self, index: int) -> tuple[NDArray[Any], int]:
        path, label = self._pictures[index]
        return read_image(path, self._channels), label

    def name(self, index: int) -> str:
        return str(self._pictures[index][0])


def _split_folders(root: Path) -> dict[Split, Path]:
    """Return the folder of each split that has one; `root` itself is that of training if there is no `train`."""
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder; set root to the folder of the data set")
    # A class of trains, full of pictures, is no split.
    if not _subfolders(root / "train"):
        return {"train": root}
    found: dict[Split, Path] = {}
    for split, names in _SPLIT_FOLDERS.items():
        there = [root / name for name in names if (root / name).is_dir()]
        if len(there) > 1:
            raise DataError(f"{root}: both {there[0].name} and {there[1].name} are there; keep one of them")
        if there:
            found[split] = there[0]
    return found


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _class_folders(folder: Path) -> list[str]:
    names = _subfolders(folder)
    if len(names) < 2:
        there = f"there is only the folder {names[0]}" if names else "there are no folders"
        raise DataError(f"{folder}: {there}; put the pictures of each class into one of its own")
    return names


def _check_classes(folder: Path, names: list[str], train: Path, class_names: tuple[str, ...]) -> None:
    for found, wanted, where, other in ((names, class_names, folder, train), (class_names, names, train, folder)):
        extra = [name for name in found if name not in wanted]
        if extra:
            raise DataError(
                f"{where / extra[0]}: there is no folder of this class in {other}; both need the same classes"
                + (f", and {len(extra) - 1} more are missing there" if len(extra) > 1 else "")
            )


def _find(folder: Path) -> list[Path]:
    """Return the pictures below a class's folder, by name."""
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )
    if not found:
        kinds = " ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"{folder}: there are no pictures of this class ({kinds}); add some, or take the folder out")
    return found
