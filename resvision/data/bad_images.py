"""Finding the pictures that cannot be read before training begins, so that it can do without them."""

import os
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import Final, Literal

from resvision.data.classification import ClassificationSource
from resvision.data.errors import DataError

__all__ = ["OnBadImage", "find_bad"]

OnBadImage = Literal["error", "skip"]

#: Pictures that a thread reads at a time.
_CHUNK: Final = 32


def find_bad(source: ClassificationSource, budget: float) -> dict[int, str]:
    """Read every picture once and return why some of them cannot be read, by their positions.

    All are read before the first batch, and not left out when their turn comes: batches, scores and a run that goes on
    must not depend on which process met a bad picture when.

    Args:
        source: The pictures.
        budget: Part of them that may be bad, in 0..1, rounded up.

    Raises:
        DataError: More of them are bad.
    """
    most = ceil(len(source) * budget)
    bad: dict[int, str] = {}
    # OpenCV decodes without holding Python's lock.
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        chunks = [range(start, min(start + _CHUNK, len(source))) for start in range(0, len(source), _CHUNK)]
        for found in pool.map(lambda chunk: _bad_of(source, chunk), chunks):
            bad |= found
            if len(bad) > most:
                raise DataError(
                    f"{next(iter(bad.values()))}; more than {most} of {len(source)} pictures are bad, as many as "
                    f"skip_budget {budget} lets skip: mend them, or raise skip_budget"
                )
    finally:
        pool.shutdown(cancel_futures=True)
    return bad


def _bad_of(source: ClassificationSource, chunk: range) -> dict[int, str]:
    bad = {}
    for index in chunk:
        try:
            source.read(index)
        except DataError as error:
            bad[index] = str(error)
    return bad
