"""Pictures that stay decoded in memory after they were read once."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from resvision.data.classification import ClassificationSource, Label
from resvision.data.reading import PictureFile, image_size

__all__ = ["KeptSource", "keep_decoded", "memory", "shared_memory"]

_SHARED_MEMORY = Path("/dev/shm")
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def keep_decoded(
    source: ClassificationSource, channels: int, most_bytes: int, *, shared: bool
) -> "KeptSource | ClassificationSource":
    """Keep the pictures of a source decoded, if all of them fit; otherwise return the source as it is.

    The headers of the files are read for it, up to the one with which the pictures no longer fit.

    Args:
        source: Pictures, each a file of its own.
        channels: Channels of a picture.
        most_bytes: Memory that the pictures may take.
        shared: Whether processes that are started later share the memory.

    Raises:
        DataError: A file whose header cannot be read.
    """
    sizes = np.zeros((len(source), 2), np.int64)
    used = 0
    for index in range(len(source)):
        file = source.file(index)
        if file is None:
            return source
        sizes[index] = image_size(file)
        used += int(sizes[index].prod()) * channels
        if used > most_bytes:
            return source
    return KeptSource(source, sizes, channels, shared=shared)


@final
class KeptSource(ClassificationSource):
    """Keeps every picture of 8 bits as it was read the first time, by whichever process.

    Two processes that read one picture at the same time write the same bytes to the same place.

    Args:
        source: Where the pictures come from.
        sizes: (N, 2), height and width of each.
        channels: Channels of a picture.
        shared: Whether processes that are started later share the memory.
    """

    def __init__(self, source: ClassificationSource, sizes: NDArray[np.int64], channels: int, *, shared: bool) -> None:
        self._source = source
        self._shapes = [(int(height), int(width), channels) for height, width in sizes]
        self._ends = np.cumsum(sizes.prod(axis=1) * channels)
        self.nbytes = int(self._ends[-1]) if len(sizes) else 0
        self._pixels = torch.empty(self.nbytes, dtype=torch.uint8)
        self._is_kept = torch.zeros(len(sizes), dtype=torch.bool)
        if shared:
            for tensor in (self._pixels, self._is_kept):
                tensor.share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int) -> tuple[NDArray[Any], Label]:
        """Return a picture, read only if it was not read before, and its label."""
        shape = self._shapes[index]
        end = int(self._ends[index])
        place = self._pixels[end - shape[0] * shape[1] * shape[2] : end].view(shape).numpy()
        if self._is_kept[index]:
            # A copy, since an augmentation may change what it is given.
            return place.copy(), self._source.label(index)
        image, label = self._source.read(index)
        if image.dtype == np.uint8 and image.shape == shape:
            place[...] = image
            self._is_kept[index] = True
        return image, label

    def label(self, index: int) -> Label:
        """Return the label of a picture."""
        return self._source.label(index)

    def name(self, index: int) -> str:
        """Return what a person knows the picture by."""
        return self._source.name(index)

    def file(self, index: int) -> PictureFile | None:
        """Return the file of a picture."""
        return self._source.file(index)

    def weights(self) -> Sequence[float] | None:
        """Return how often each picture is visited in training."""
        return self._source.weights()


def memory() -> int:
    """Return the bytes of memory that this machine has, or that this container may use; 0 where that is not known."""
    if not hasattr(os, "sysconf"):
        return 0
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _CGROUP_LIMITS:
        if path.is_file() and (text := path.read_text().strip()).isdecimal():
            sizes.append(int(text))
    return min(sizes)


def shared_memory() -> int:
    """Return the bytes that processes may share: a container often has only 64 MB of it, and batches need some."""
    return shutil.disk_usage(_SHARED_MEMORY).free // 2 if _SHARED_MEMORY.is_dir() else memory()
