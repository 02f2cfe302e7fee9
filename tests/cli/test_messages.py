from argparse import ArgumentError

import pytest
import torch
from torch.nn import BatchNorm2d
from torch.utils.data import DataLoader, Dataset

from resvision.cli.messages import UsageError, explain


class _Broken(Dataset[int]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        raise ValueError("the picture a.png is cut short: copy it again")


def test_explain__gives_the_words_of_a_worker_process() -> None:
    loader = DataLoader(_Broken(), num_workers=1)
    with pytest.raises(ValueError, match="DataLoader worker") as caught:
        next(iter(loader))
    assert explain(caught.value).text == "the picture a.png is cut short: copy it again"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("no"), 2),
        (FileNotFoundError(2, "No such file or directory", "x"), 2),
        (ArgumentError(None, "no"), 2),
        (RuntimeError("shapes differ"), 1),
        (ZeroDivisionError(), 1),
    ],
)
def test_explain__exit_code_is_never_zero(error: Exception, code: int) -> None:
    assert explain(error).exit_code == code


def test_explain__a_fault_of_the_program_names_its_kind_and_the_way_to_see_more() -> None:
    text = explain(ZeroDivisionError("division by zero")).text
    assert "ZeroDivisionError: division by zero" in text
    assert "--debug" in text


def test_explain__key_errors_lose_their_quotes() -> None:
    assert explain(KeyError("no backbone 'x'")).text == "no backbone 'x'"


def test_explain__says_what_a_torchvision_of_another_torch_means() -> None:
    error = RuntimeError("operator torchvision::nms does not exist")
    assert "install both together" in explain(error).text


def test_explain__says_what_batch_norm_of_one_value_needs() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel") as caught:
        BatchNorm2d(3)(torch.zeros(1, 3, 1, 1))
    explanation = explain(caught.value)
    assert explanation.exit_code == 2
    assert "raise data.batch_size" in explanation.text
