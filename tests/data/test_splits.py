import pytest

from resvision.data.splits import split_named


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("instances_train2017", ("train", "train2017")),
        ("val", ("val", "val")),
        ("valid", ("val", "valid")),
        ("my-validation.v3", ("val", "validation")),
        ("TEST", ("test", "test")),
        ("trainval", None),
        ("train_and_val", None),
        ("contest", None),
        ("strain", None),
        ("all", None),
    ],
)
def test_split_named__reads_whole_words(name: str, expected: tuple[str, str] | None) -> None:
    assert split_named(name) == expected
