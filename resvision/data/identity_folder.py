"""Pictures in folders of identities, such as people, of which some are kept for verification."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, final

from resvision.data.bad_images import OnBadImage
from resvision.data.base import Split
from resvision.data.classification import FileSource
from resvision.data.classification_module import ClassificationDataModule
from resvision.data.errors import DataError
from resvision.data.listing import find_pictures
from resvision.data.resident import CropAndFlip
from resvision.data.transforms import Augmentation

__all__ = ["IdentityFolder"]


@final
class IdentityFolder(ClassificationDataModule):
    """Pictures of identities that are told apart in training, and of others to verify on.

    Every folder below `root` that holds pictures is an identity, wherever it lies. Pictures are resized as a whole: a
    face that fills its picture has something to be known by up to the edges.

    Args:
        root: Folder of the data set.
        val: Names of the identities to validate on, or patterns such as `person_9*`; they are not trained on.
        test: The same for the test.
        image_size: Height and width in pixels at which the model sees pictures.
        in_channels: 3 for RGB, 1 for grey.
        augmentation: A named strength, a list of albumentations' transforms, or `CropAndFlip` on the device.
        on_bad_image: `error` stops at a picture that cannot be read. `skip` reads all pictures once before training,
            leaves the bad ones out, and lists them in `skipped.csv` of the run.
        skip_budget: Part of a split's pictures that may be skipped, in 0..1, rounded up.
        keep_decoded: Part of the machine's memory, in 0..1, that the training and the validation split may take to stay
            decoded, so that no file is read twice; a larger split is read anew in each epoch.
        batch_size: Pictures in a batch, of each process.
        num_workers: Processes that load pictures; None takes none where the model itself runs on the CPU, and
            otherwise as many as there are CPU cores to spare, up to 8.
        seed: Seed of the order and of the augmentation.
    """

    whole_pictures = True

    def __init__(
        self,
        root: str,
        *,
        val: list[str],
        test: list[str] | None = None,
        image_size: int = 112,
        in_channels: Literal[1, 3] = 3,
        augmentation: Augmentation | CropAndFlip = "light",
        on_bad_image: OnBadImage = "error",
        skip_budget: float = 0.05,
        keep_decoded: float = 0.1,
        batch_size: int = 32,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        self.root = Path(root)
        self._pictures = _by_identity(self.root)
        held: dict[Split, list[str]] = {
            "val": _matching(self._pictures, val),
            "test": _matching(self._pictures, test or []),
        }
        both = sorted(set(held["val"]) & set(held["test"]))
        if both:
            raise DataError(f"{self._pictures[both[0]][0].parent}: this identity is named in val and in test; keep one")
        out = {name for names in held.values() for name in names}
        self.identities: dict[Split, list[str]] = {
            "train": [name for name in self._pictures if name not in out],
            **held,
        }
        if len(self.identities["train"]) < 2:
            raise DataError(
                f"{root}: val and test leave {len(self.identities['train'])} identities to train on; name fewer"
            )
        super().__init__(
            self.identities["train"],
            in_channels,
            image_size=image_size,
            augmentation=augmentation,
            on_bad_image=on_bad_image,
            skip_budget=skip_budget,
            keep_decoded=keep_decoded,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )

    def source(self, split: Split) -> FileSource:
        """List the pictures of one split; its identities are numbered from 0."""
        names = self.identities[split]
        if not names:
            raise DataError(f"{self.root}: no identities are named for the split {split}; set {split}")
        pictures = [(path, label) for label, name in enumerate(names) for path in self._pictures[name]]
        return FileSource([path for path, _ in pictures], [label for _, label in pictures], self.channels)


def _by_identity(root: Path) -> dict[str, list[Path]]:
    """Return the pictures of each identity, by name."""
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder; set root to the folder of the data set")
    found: dict[str, list[Path]] = {}
    for path in (root / relative for relative in find_pictures(root) if len(relative.parts) > 1):
        others = found.setdefault(path.parent.name, [])
        if others and others[0].parent != path.parent:
            raise DataError(f"{path.parent}: {others[0].parent} has the same name; rename one, or put them together")
        others.append(path)
    if len(found) < 2:
        raise DataError(f"{root}: there are pictures in {len(found)} folders; put those of each identity into its own")
    return dict(sorted(found.items()))


def _matching(names: dict[str, list[Path]], patterns: Sequence[str]) -> list[str]:
    found: set[str] = set()
    for pattern in patterns:
        # Most are plain names, of which there may be thousands.
        matching = {pattern} if pattern in names else {name for name in names if fnmatchcase(name, pattern)}
        if not matching:
            raise DataError(f"no identity is called {pattern}; there are {', '.join(list(names)[:8])}, ...")
        found |= matching
    return [name for name in names if name in found]
