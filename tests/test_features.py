import pytest

from resvision.features import FeatureSpec, select

SPECS = {
    "stem": FeatureSpec(64, 2),
    "stage1": FeatureSpec(64, 4),
    "stage2": FeatureSpec(128, 8),
    "stage3": FeatureSpec(256, 8),
}


def test_select__names_the_deepest_feature_of_each_stride_in_the_order_asked() -> None:
    assert select(SPECS, (8, 2)) == ("stage3", "stem")


def test_select__takes_any_iterable_even_one_that_can_be_read_once() -> None:
    assert select(SPECS, iter([4, 8])) == ("stage1", "stage3")


def test_select__an_absent_stride_is_an_error_that_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no feature of stride \[16, 32\].*\[2, 4, 8\]"):
        select(SPECS, (4, 16, 32))
