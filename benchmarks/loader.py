"""Pictures per second and core through reading, cropping to 224 and batching, against PIL with torchvision's v2.

Both sides read the same generated JPEGs of 500x375 pixels, each in one thread of a process as `DataLoader` would have
it, take turns, and give uint8 batches. Ours is measured as it is, and with the whole of each picture decoded, as it is
without the extra `jpeg`. Run by hand: `python benchmarks/loader.py`.
"""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import albumentations
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import v2

from resvision.data.classification import ClassificationDataset, ClassificationSource, FileSource
from resvision.data.reading import read_image
from resvision.data.sampler import SampleKey
from resvision.data.transforms import ClassificationTransform
from resvision.data.worker import prepare_worker

PICTURES = 256
BATCH = 64
ROUNDS = 5


def write_pictures(folder: Path) -> list[Path]:
    """Write smooth noise, which compresses to about 60 KB a picture, as photographs do."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(PICTURES)]
    for path in paths:
        coarse = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, (500, 375), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return paths


class WholePictures(ClassificationSource):
    """Pictures of files, each decoded as a whole."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.paths)

    def read(self, index: int) -> tuple[NDArray[Any], int]:
        """Return a picture and its label."""
        return read_image(self.paths[index]), 0

    def name(self, index: int) -> str:
        """Return the path of a picture."""
        return str(self.paths[index])


def ours(paths: list[Path]) -> Callable[[int], torch.Tensor]:
    """Return what makes a batch as training a classifier does."""
    return batches(FileSource(paths, [0] * len(paths), 3))


def ours_of_whole_pictures(paths: list[Path]) -> Callable[[int], torch.Tensor]:
    """Return what makes the same batches from whole pictures."""
    return batches(WholePictures(paths))


def batches(source: ClassificationSource) -> Callable[[int], torch.Tensor]:
    """Return what makes a batch of a source."""
    transform = ClassificationTransform(
        [albumentations.RandomResizedCrop((224, 224)), albumentations.HorizontalFlip()], 224
    )
    dataset = ClassificationDataset(source, 224, transform, seed=0)

    def batch(start: int) -> torch.Tensor:
        return dataset.collate([dataset[SampleKey(0, index)] for index in range(start, start + BATCH)])["image"]

    return batch


def pil_and_v2(paths: list[Path]) -> Callable[[int], torch.Tensor]:
    """Return what makes a batch with PIL and torchvision's transforms."""
    transform = v2.Compose([v2.RandomResizedCrop(224), v2.RandomHorizontalFlip(), v2.PILToTensor()])

    def batch(start: int) -> torch.Tensor:
        return torch.stack([transform(Image.open(path).convert("RGB")) for path in paths[start : start + BATCH]])

    return batch


SIDES = {
    "ours": (ours, prepare_worker),
    "ours, whole pictures": (ours_of_whole_pictures, prepare_worker),
    "PIL + torchvision v2": (pil_and_v2, torch.set_num_threads),
}


def rate(side: str, paths: list[Path]) -> float:
    """Return pictures per second."""
    batch = SIDES[side][0](paths)
    batch(0)
    begin = time.process_time()
    for start in range(0, PICTURES, BATCH):
        assert batch(start).shape == (BATCH, 3, 224, 224)
    return PICTURES / (time.process_time() - begin)


def main() -> None:
    """Measure both sides in turns and print the best round of each."""
    with ExitStack() as stack:
        paths = write_pictures(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        size = sum(path.stat().st_size for path in paths) / len(paths)
        # As in a DataLoader, each in a process of its own that was made for it.
        workers = {
            side: stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"), initializer=prepare, initargs=(1,)))
            for side, (_, prepare) in SIDES.items()
        }
        best = dict.fromkeys(SIDES, 0.0)
        for _ in range(ROUNDS):
            for side, worker in workers.items():
                best[side] = max(best[side], worker.submit(rate, side, paths).result())
    print(f"{PICTURES} JPEGs of 500x375, {size / 1024:.0f} KB each; best of {ROUNDS} rounds, one core")
    for side, pictures in best.items():
        print(f"{side:>22}: {pictures:6.0f} pictures/s   {pictures / best['PIL + torchvision v2']:.2f} x")


if __name__ == "__main__":
    main()
