import torch

from resvision.models.padding import padded


def test_padded__continues_the_last_row_and_column() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert padded(x, 3).tolist() == [[[[1, 2, 2], [3, 4, 4], [3, 4, 4]]]]


def test_padded__leaves_what_is_large_enough() -> None:
    x = torch.zeros(1, 1, 3, 2)
    assert padded(x, 2) is x
    assert padded(x, 3).shape == (1, 1, 3, 3)
