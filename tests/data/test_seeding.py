import pickle
import random
from hashlib import blake2b

import numpy as np

from resvision.data.seeding import Draws, fold


def test_fold__equals_the_first_63_bits_of_blake2b() -> None:
    digest = blake2b(b"(3, 'order', 7)", digest_size=8).digest()
    assert fold(3, "order", 7) == int.from_bytes(digest, "little") // 2


def test_fold__tells_order_type_and_grouping_apart() -> None:
    assert len({fold(1, 2), fold(2, 1), fold(12), fold("1", 2), fold(1, 2, 0), fold()}) == 6


def test_fold__stays_in_the_range_of_a_generator() -> None:
    assert all(0 <= fold(0, number) < 2**63 for number in range(1000))


def _drawn(draws: Draws) -> tuple[object, ...]:
    """Return some draws, of which one in numpy leaves half of a number behind."""
    return (
        *draws.numpy.random(3),
        draws.numpy.integers(9, dtype=np.uint32),
        draws.python.random(),
        draws.python.gauss(),
    )


def test_draws__are_a_pure_function_of_the_seed() -> None:
    used, fresh = Draws(), Draws()
    for seed in (5, 6, 2**63 - 1, 0, 5):
        _drawn(used)
        used.seed(seed)
        fresh = pickle.loads(pickle.dumps(Draws()))  # As in a worker process.
        fresh.seed(seed)
        assert _drawn(used) == _drawn(fresh)


def test_draws__of_python_are_those_of_its_generator() -> None:
    draws = Draws()
    draws.seed(7)
    assert draws.python.random() == random.Random(7).random()


def test_draws__of_seeds_side_by_side_are_independent() -> None:
    draws, first = Draws(), np.empty((4000, 2))
    for seed in range(len(first)):
        draws.seed(seed)
        first[seed] = draws.numpy.random(2)
    counts, *_ = np.histogram2d(first[:, 0], first[:, 1], bins=8, range=np.array([[0, 1], [0, 1]]))
    following, *_ = np.histogram2d(first[:-1, 0], first[1:, 0], bins=8, range=np.array([[0, 1], [0, 1]]))
    for table in (counts, following):  # Chi-squared of 63 degrees of freedom: above 122.7 in one of 100,000 tables.
        assert np.square(table - table.mean()).sum() / table.mean() < 122.7
