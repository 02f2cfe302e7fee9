"""Random draws as pure functions of counters.

No random state is kept, saved or restored anywhere in the data: whatever is drawn for a picture follows from
a few numbers, such as seed, epoch and index. A run that is resumed, or that has another number of workers,
draws the same.
"""

import random
from hashlib import blake2b
from typing import Final

import numpy as np

__all__ = ["Draws", "fold"]


def fold(*parts: int | str) -> int:
    """Mix counters and names into one seed.

    Args:
        *parts: What the draw depends on, such as the seed, the epoch and the index. Their order counts.

    Returns:
        A number in 0..2**63 - 1, the range that every generator in use accepts. It is the same on every
        machine.
    """
    digest = blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class Draws:
    """A generator of numpy and one of Python that are seeded anew for each picture.

    To make new ones would take a twentieth of the time that it takes to read a picture.

    Attributes:
        numpy: Draws of numpy.
        python: Draws of Python.
    """

    def __init__(self) -> None:
        self._bits: Final = np.random.PCG64(0)
        self._state: Final = self._bits.state
        self.numpy: Final = np.random.Generator(self._bits)
        self.python: Final = random.Random(0)

    def seed(self, seed: int) -> None:
        """Let both go on as a pure function of a seed in 0..2**63 - 1, whatever was drawn before."""
        self.python.seed(seed)
        # Each number of 128 bits is a place in the one sequence of 2**128 draws; two such places lie far apart.
        place = int.from_bytes(blake2b(seed.to_bytes(8, "little"), digest_size=16).digest(), "little")
        self._state["state"]["state"] = place
        self._bits.state = self._state
