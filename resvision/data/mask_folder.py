"""Pictures in one folder and their masks in another."""

from pathlib import Path, PurePath
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from resvision.batch import IGNORE_INDEX
from resvision.data.annotation_files import inside, read_lines
from resvision.data.base import Split, VisionDataModule
from resvision.data.classification import divide
from resvision.data.errors import DataError
from resvision.data.given import given_as
from resvision.data.mask_values import IGNORE, MaskDecoder
from resvision.data.pairing import Folders, Pair, find_pairs
from resvision.data.reading import image_size, read_image, read_mask
from resvision.data.segmentation import SegmentationDataset, SegmentationSource
from resvision.data.transforms import Augmentation, SegmentationTransform
from resvision.layers import check_choice

__all__ = ["Folders", "MaskFolder"]


@final
class MaskFolder(VisionDataModule):
    """Pictures and masks in folders of any names, to segment.

    Pictures may be grey or coloured, of 8 or 16 bits, with a palette or transparency. A mask has the size of its
    picture and holds either the number of a class in each pixel (grey values or the indices of a palette) or a
    colour. Validation and test take the pictures at their own size. A link to a file is followed wherever it leads;
    one to a folder is not.

    Args:
        root: Folder of the data set.
        class_names: Names of the classes in the order of their numbers, or a text file below the root with
            one on each line.
        train: Folders of the training split.
        val: Folders of the validation split; None holds out a part of the training split, the same for every
            `seed`.
        test: Folders of the test split, if there is one.
        val_fraction: Part of the training split that is held out, in 0..1.
        mask_values: Value in a mask to class name, or to `ignore`. Other values are the numbers of their
            classes.
        mask_colors: Class name, or `ignore`, to red, green and blue, for masks of colours.
        in_channels: 3 for RGB, 1 for grey.
        crop_size: Height and width of a training crop in pixels; None trains on whole pictures, which then
            have to be of one size.
        augmentation: A named strength, or a list of albumentations' transforms.
        batch_size: Pictures in a batch, of each process.
        num_workers: Processes that load pictures; None takes none where the model itself runs on the CPU, and
            otherwise as many as there are CPU cores to spare, up to 8.
        seed: Seed of the order and of the augmentation.
    """

    def __init__(
        self,
        root: str,
        class_names: list[str] | str,
        *,
        train: Folders,
        val: Folders | None = None,
        test: Folders | None = None,
        val_fraction: float = 0.1,
        mask_values: dict[int, str] | None = None,
        mask_colors: dict[str, tuple[int, int, int]] | None = None,
        in_channels: Literal[1, 3] = 3,
        crop_size: tuple[int, int] | None = None,
        augmentation: Augmentation = "light",
        batch_size: int = 8,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(f"{root}: there is no such folder; set root to the folder of the data set")
        check_choice("in_channels", in_channels, (1, 3))
        names = _class_names(self.root, class_names)
        super().__init__(names, in_channels, batch_size=batch_size, num_workers=num_workers, seed=seed)
        if not 0 < val_fraction < 1:
            raise ValueError(f"val_fraction is {val_fraction}; it must lie between 0 and 1")
        self.folders: dict[Split, Folders | None] = {
            "train": given_as(Folders, "train", train),
            "val": given_as(Folders, "val", val),
            "test": given_as(Folders, "test", test),
        }
        self.val_fraction = val_fraction
        self.channels = in_channels
        self.crop_size = crop_size
        self.decoder = MaskDecoder(names, mask_values, mask_colors)
        self.transform = SegmentationTransform(augmentation, crop_size)

    def build(self, split: Split) -> SegmentationDataset:
        """Pair the files of one split and check their headers."""
        source = _FolderSource(self._pairs(split), self.decoder, self.channels)
        if split == "train" and self.crop_size is None and not source.uniform_size:
            raise DataError(f"{self.root}: training pictures differ in size; set crop_size, such as [256, 256]")
        transform = self.transform if split == "train" else None
        return SegmentationDataset(source, transform, seed=self.seed)

    def _pairs(self, split: Split) -> list[Pair]:
        folders = self.folders[split]
        if folders is not None:
            if split == "train" and self.folders["val"] is None:
                return self._hold_out(folders)[0]
            return _pairs_apart(self.root, split, folders)
        if split == "val" and self.folders["train"] is not None:
            return self._hold_out(self.folders["train"])[1]
        raise ValueError(f"the data has no {split} split; name its folders, as in {split}: {{images: .., masks: ..}}")

    def _hold_out(self, folders: Folders) -> tuple[list[Pair], list[Pair]]:
        """Divide the training pairs by their names alone, the same for every seed and machine."""
        pairs = _pairs_apart(self.root, "train", folders)
        held_out = set(divide([pair.key for pair in pairs], self.val_fraction)["val"])
        if len(held_out) >= len(pairs):
            few = f"{len(pairs)} pictures are too few to hold out {len(held_out)}"
            raise DataError(f"{self.root / folders.images}: {few}")
        return [p for p in pairs if p.key not in held_out], [p for p in pairs if p.key in held_out]


def _pairs_apart(root: Path, split: Split, folders: Folders) -> list[Pair]:
    """Pair the files of a split, none of them with itself."""
    same = PurePath(folders.images) == PurePath(folders.masks)
    pairs = [] if same else find_pairs(root, split, folders)
    if same or any(pair.image == pair.mask for pair in pairs):
        patterns = f'{split}: {{images: "photos/*.jpg", masks: "photos/*_mask.png"}}'
        raise DataError(
            f"{root / folders.masks}: pictures are taken for their own masks; where both lie together, tell them "
            f"apart by patterns, as in {patterns}"
        )
    return pairs


@final
class _FolderSource(SegmentationSource):
    """Pairs of files, their headers checked."""

    def __init__(self, pairs: list[Pair], decoder: MaskDecoder, channels: Literal[1, 3]) -> None:
        self._pairs = pairs
        self._decoder = decoder
        self._channels: Literal[1, 3] = channels
        sizes = set()
        for pair in pairs:
            size, mask_size = image_size(pair.image), image_size(pair.mask)
            if size != mask_size:
                raise DataError(
                    f"{pair.mask}: {mask_size[1]}x{mask_size[0]} pixels, but {size[1]}x{size[0]} in "
                    f"its picture {pair.image.name}; save both at one size"
                )
            sizes.add(size)
        self.uniform_size = len(sizes) == 1

    def __len__(self) -> int:
        return len(self._pairs)

    def read(self, index: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        pair = self._pairs[index]
        return read_image(pair.image, self._channels), self._decoder(read_mask(pair.mask), pair.mask)

    def name(self, index: int) -> str:
        return str(self._pairs[index].image)


def _class_names(root: Path, names: list[str] | str) -> list[str]:
    if isinstance(names, str):
        _, path = inside(root, names, "class_names")
        if not path.is_file():
            raise DataError(
                f"{path}: there is no such file; class_names is a list, or a text file with one on each line"
            )
        names = read_lines(path)
    if not 1 <= len(names) <= IGNORE_INDEX:
        raise ValueError(f"class_names has {len(names)} names; give 1 to {IGNORE_INDEX}")
    if IGNORE in names:
        raise ValueError(f"class_names holds {IGNORE!r}, which stands for no class; leave it out")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"class_names holds {name!r} twice")
    return names
