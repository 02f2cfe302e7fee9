from hashlib import blake2b

from resvision.data.seeding import fold


def test_fold__equals_the_first_63_bits_of_blake2b() -> None:
    digest = blake2b(b"(3, 'order', 7)", digest_size=8).digest()
    assert fold(3, "order", 7) == int.from_bytes(digest, "little") // 2


def test_fold__tells_order_type_and_grouping_apart() -> None:
    assert len({fold(1, 2), fold(2, 1), fold(12), fold("1", 2), fold(1, 2, 0), fold()}) == 6


def test_fold__stays_in_the_range_of_a_generator() -> None:
    assert all(0 <= fold(0, number) < 2**63 for number in range(1000))
