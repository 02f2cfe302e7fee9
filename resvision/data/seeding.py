"""Random draws as pure functions of counters.

No random state is kept, saved or restored anywhere in the data: whatever is drawn for a picture follows from
a few numbers, such as seed, epoch and index. A run that is resumed, or that has another number of workers,
draws the same.
"""

from hashlib import blake2b

__all__ = ["fold"]


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
