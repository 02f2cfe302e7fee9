from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from resvision.tasks.answers import Answers

pytestmark = pytest.mark.filterwarnings("ignore:The ``compute`` method of metric Answers was called before")


def _answers() -> Answers:
    return Answers(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))


def _of_two(other: Answers) -> Callable[[Tensor, object], list[Tensor]]:
    """Gather as two processes do: by the order of the states, in which torch would wait for one of equal type."""
    theirs = iter([torch.cat(other.said), torch.cat(other.truth)])

    def gather(own: Tensor, group: object) -> list[Tensor]:
        sent = next(theirs)
        assert (own.dtype, own.shape[1:]) == (sent.dtype, sent.shape[1:])
        return [own, sent]

    return gather


@pytest.mark.parametrize("swapped", [False, True])
def test_answers__of_a_process_without_pictures_join_those_of_another(swapped: bool) -> None:
    said, truth = torch.rand(4, 3), torch.tensor([2, 0, 1, 2])
    some, none = _answers(), _answers()
    some.update(said[:1], truth[:1])
    some.update(said[1:], truth[1:])
    own, other = (none, some) if swapped else (some, none)
    own.dist_sync_fn, own.distributed_available_fn = _of_two(other), lambda: True
    torch.testing.assert_close(own.compute(), (said, truth))


def test_answers__are_forgotten() -> None:
    answers = _answers()
    answers.update(torch.rand(4, 3), torch.arange(4))
    answers.reset()
    said, truth = answers.compute()
    assert (said.shape, truth.shape, truth.dtype) == ((0, 3), (0,), torch.long)
