import math

import torch

from resvision.tasks.tables import MOST_LISTED, cell, confusions, worst


def test_cell__is_six_characters_wide() -> None:
    assert (cell(0.5), cell(math.nan)) == (" 0.500", "     -")


def test_worst__lists_all_of_few_and_the_lowest_of_many() -> None:
    few = [("a", 0.9), ("b", 0.1)]
    assert worst(few, 1) == few
    many = [(str(k), math.nan if k == 0 else 1.0 - k / 100) for k in range(MOST_LISTED + 2)]
    shown = worst(many, 1)
    assert [name for name, _ in shown] == [str(k) for k in range(MOST_LISTED + 1, 1, -1)]


def test_confusions__name_the_most_frequent_first() -> None:
    counts = torch.tensor([[9, 2, 0], [5, 9, 0], [0, 0, 9]])
    lines = confusions(counts, ["cat", "dog", "cow"], "confused")
    assert lines == ["confused", "  dog taken for cat: 5", "  cat taken for dog: 2"]
    assert confusions(torch.eye(3).long(), ["cat", "dog", "cow"], "confused") == []
