from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resvision.batch import IGNORE_INDEX
from resvision.data.errors import DataError
from resvision.data.mask_values import MaskDecoder

_NAMES = ("sky", "road", "car")
_PATH = Path("m.png")


def _mask(values: Any, dtype: type = np.uint8) -> Any:
    return np.array(values, dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_values__are_class_numbers_by_default(dtype: type) -> None:
    mask = MaskDecoder(_NAMES)(_mask([[0, 1, 2]], dtype), _PATH)
    assert mask.dtype == np.uint8
    assert mask.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_values__are_mapped_to_names_and_ignore_while_the_others_stay(dtype: type) -> None:
    decode = MaskDecoder(_NAMES, values={200: "road", 11: "ignore", 0: "car"})
    assert decode(_mask([[200, 11, 0], [1, 2, 200]], dtype), _PATH).tolist() == [[1, IGNORE_INDEX, 2], [1, 2, 1]]


def test_values__beyond_a_byte_can_be_mapped() -> None:
    decode = MaskDecoder(_NAMES, values={1000: "car", 65535: "ignore"})
    assert decode(_mask([[1000, 65535, 1]], np.int32), _PATH).tolist() == [[2, IGNORE_INDEX, 1]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_values__that_are_no_class_are_named_with_the_way_to_map_them(dtype: type) -> None:
    message = r"^m\.png: value 7 is no class \(0 to 2\); map it, as in mask_values: \{7: ignore\}$"
    with pytest.raises(DataError, match=message):
        MaskDecoder(_NAMES)(_mask([[0, 7, 1]], dtype), _PATH)


def test_255__is_not_silently_ignored() -> None:
    with pytest.raises(DataError, match="value 255 is no class"):
        MaskDecoder(_NAMES)(_mask([[255]]), _PATH)


def test_255_classes__use_every_value_but_the_ignored_one() -> None:
    decode = MaskDecoder([str(number) for number in range(255)], values={255: "ignore"})
    assert decode(_mask([range(256)]), _PATH).tolist() == [list(range(256))]


def test_colors__are_mapped_to_names_and_ignore() -> None:
    decode = MaskDecoder(_NAMES, colors={"road": (128, 64, 128), "sky": (0, 0, 255), "ignore": (0, 0, 0)})
    mask = _mask([[[128, 64, 128], [0, 0, 255], [0, 0, 0]]])
    assert decode(mask, _PATH).tolist() == [[1, 0, IGNORE_INDEX]]


def test_colors__that_are_no_class_are_named_with_the_way_to_map_them() -> None:
    with pytest.raises(DataError) as caught:
        MaskDecoder(_NAMES, colors={"road": (3, 2, 1)})(_mask([[[3, 2, 1], [1, 2, 3]]]), _PATH)
    assert str(caught.value) == (
        "m.png: colour [1, 2, 3] is no class (without a colour yet: sky, car); add to mask_colors, as in "
        "{sky: [1, 2, 3]}"
    )


@pytest.mark.parametrize(
    ("colors", "mask", "message"),
    [
        (
            {"road": (128, 64, 128)},
            [[[128, 64, 128], [0, 0, 0]]],
            "colour [0, 0, 0] is no class (without a colour yet: background); add to mask_colors, as in "
            "{background: [0, 0, 0]}",
        ),
        (
            {"road": (128, 64, 128)},
            [[[255, 254, 253], [0, 0, 9], [0, 0, 9]]],
            "colours [0, 0, 9], [255, 254, 253] are no classes (without a colour yet: background); add to "
            "mask_colors, as in {background: [0, 0, 9], ignore: [255, 254, 253]}",
        ),
        (
            {"road": (128, 64, 128), "background": (0, 0, 0)},
            [[[1, 2, 3]]],
            "colour [1, 2, 3] is no class (each class has another colour); add to mask_colors, as in "
            "{ignore: [1, 2, 3]}",
        ),
        (
            {"road": (128, 64, 128), "background": (0, 0, 0), "ignore": (9, 9, 9)},
            [[[1, 2, 3]]],
            "colour [1, 2, 3] is no class (each class has another colour); paint over it in the mask",
        ),
    ],
)
def test_unknown_colors__are_offered_to_the_classes_without_one(
    colors: dict[str, tuple[int, int, int]], mask: Any, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        MaskDecoder(["background", "road"], colors=colors)(_mask(mask), _PATH)
    assert str(caught.value) == f"m.png: {message}"


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
@pytest.mark.parametrize(
    ("names", "values", "mask", "message"),
    [
        ("ab", {}, [0, 255], "value 255 is no class (0 to 1); map it, as in mask_values: {255: b}"),
        (
            "ab",
            {},
            [0, 255, 128, 255],
            "values 128, 255 are no classes (0 to 1); map them, as in mask_values: {128: ignore, 255: b}",
        ),
        (
            "abc",
            {},
            [0, 255, 128],
            "values 128, 255 are no classes (0 to 2); map them, as in mask_values: {128: b, 255: c}",
        ),
        ("ab", {}, [0, 1, 255], "value 255 is no class (0 to 1); map it, as in mask_values: {255: ignore}"),
        ("abc", {}, [0, 255], "value 255 is no class (0 to 2); map it, as in mask_values: {255: ignore}"),
        (
            "ab",
            {255: "b"},
            [0, 128, 255],
            "value 128 is no class (0 to 1, mapped {255: b}); add to mask_values, as in {128: ignore}",
        ),
        (
            "abc",
            {255: "c"},
            [0, 128, 255],
            "value 128 is no class (0 to 2, mapped {255: c}); add to mask_values, as in {128: b}",
        ),
        (
            "a",
            {},
            range(10),
            "values 1, 2, 3, 4, 5, ... are no classes (0 to 0); map them, as in mask_values: "
            "{1: ignore, 2: ignore, 3: ignore, 4: ignore, 5: ignore}",
        ),
    ],
)
def test_unknown_values__are_all_named_and_offered_to_the_classes_that_lack(
    names: str, values: dict[int, str], mask: Any, message: str, dtype: type
) -> None:
    with pytest.raises(DataError) as caught:
        MaskDecoder(names, values=values)(_mask([[*mask]], dtype), _PATH)
    assert str(caught.value) == f"m.png: {message}"


def test_colors__where_values_are_expected_are_an_error_and_the_other_way_round() -> None:
    with pytest.raises(DataError, match=r"^m\.png: a mask of colours; name them, as in mask_colors"):
        MaskDecoder(_NAMES)(_mask([[[0, 0, 0]]]), _PATH)
    with pytest.raises(DataError, match=r"^m\.png: a mask of single values; leave out mask_colors"):
        MaskDecoder(_NAMES, colors={"road": (1, 2, 3)})(_mask([[0]]), _PATH)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": {3: "raod"}}, "mask_values names 'raod', which is no class; there are: sky, road, car, ignore"),
        ({"colors": {"raod": (1, 2, 3)}}, "mask_colors names 'raod', which is no class"),
        ({"colors": {"road": (1, 2, 256)}}, r"mask_colors gives road the colour \[1, 2, 256\]"),
        ({"colors": {"road": (1, 2, 3), "car": (1, 2, 3)}}, "mask_colors gives two classes one colour"),
        ({"values": {3: "road"}, "colors": {"road": (1, 2, 3)}}, "both given"),
    ],
)
def test_options__that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskDecoder(_NAMES, **options)
