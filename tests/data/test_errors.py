from typing import Any

import pytest
from torch.utils.data import DataLoader, Dataset

from resvision.data.errors import DataError


class _Broken(Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise DataError("a: b.png: DataError: broken; replace it") from error


@pytest.mark.parametrize("workers", [0, 1])
def test_message__is_the_same_line_with_and_without_workers(workers: int) -> None:
    with pytest.raises(DataError) as caught:
        list(DataLoader(_Broken(), num_workers=workers))
    assert str(caught.value) == "a: b.png: DataError: broken; replace it"


def test_error__is_a_value_error() -> None:
    assert issubclass(DataError, ValueError)


def test_message__stays_one_line_where_a_file_name_holds_a_line_break() -> None:
    assert str(DataError("a\nb.png: broken")) == "a\\nb.png: broken"
