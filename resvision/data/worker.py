"""A process that loads pictures, and nothing else."""

import ctypes
import platform
from typing import Final

import cv2

__all__ = ["prepare_worker"]

# Numbers of glibc's malloc.h, and bytes: what is free at the heap's end before it goes back to the kernel, and the size
# from which a block is a mapping of its own, at most 32 MiB.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT: Final = 64 * 2**20
_LARGEST: Final = 32 * 2**20


def prepare_worker(worker: int) -> None:
    """Make a process that loads pictures fast at that, whatever its number; for `DataLoader`'s `worker_init_fn`.

    OpenCV keeps to the worker's own core, as torch does with itself in a worker. The memory of a picture is kept for
    the next one: glibc would give it back to the kernel with each batch and fault it in again page by page, a twentieth
    of the time.
    """
    cv2.setNumThreads(0)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST)
