"""From the values in a mask file to the numbers of classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, final

import cv2
import numpy as np
from numpy.typing import NDArray

from resvision.batch import IGNORE_INDEX
from resvision.data.errors import DataError

__all__ = ["IGNORE", "MaskDecoder"]

#: Stands in the place of a class name for pixels that belong to no class.
IGNORE: Final = "ignore"

_UNKNOWN: Final = -1


@final
class MaskDecoder:
    """Turns masks of values, or of colours, into masks of classes.

    Args:
        class_names: Names of the classes, in the order of their numbers.
        values: Value in the file to class name, or to `IGNORE`. A value that is not listed and is the number
            of a class means that class.
        colors: Class name, or `IGNORE`, to red, green and blue. Where it is given, masks are files of
            colours.

    Raises:
        ValueError: A name that is no class, one colour for two classes, or both values and colours.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        values: Mapping[int, str] | None = None,
        colors: Mapping[str, tuple[int, int, int]] | None = None,
    ) -> None:
        numbers = {name: number for number, name in enumerate(class_names)} | {IGNORE: IGNORE_INDEX}
        for option, names in (("mask_values", (values or {}).values()), ("mask_colors", colors or ())):
            for name in names:
                if name not in numbers:
                    known = ", ".join([*class_names, IGNORE])
                    raise ValueError(f"{option} names {name!r}, which is no class; there are: {known}")
        if values and colors:
            raise ValueError("mask_values and mask_colors are both given; use the one that fits")
        self._num_classes = len(class_names)
        self._of_colors = bool(colors)
        if colors:
            self._classes = {_code(name, color): numbers[name] for name, color in colors.items()}
            if len(self._classes) < len(colors):
                raise ValueError("mask_colors gives two classes one colour")
        else:
            self._classes = {number: number for number in range(len(class_names))}
            self._classes |= {value: numbers[name] for value, name in (values or {}).items()}
        self._table = np.zeros(256, np.uint8)
        self._known = np.zeros(256, np.bool_)
        for value, number in self._classes.items():
            if 0 <= value < 256:
                self._table[value], self._known[value] = number, True

    def __call__(self, mask: NDArray[Any], path: Path) -> NDArray[np.uint8]:
        """Decode one mask.

        Args:
            mask: (H, W) of values or (H, W, 3) of colours, as `read_mask` gives it.
            path: Its file, for the words of an error.

        Returns:
            (H, W), classes from 0, `IGNORE_INDEX` where a pixel has none.

        Raises:
            DataError: A value or colour that stands for no class, or a mask of colours where values are
                expected or the other way round.
        """
        if (mask.ndim == 3) != self._of_colors:
            raise DataError(
                f"{path}: a mask of single values; leave out mask_colors, or save the mask in colours"
                if self._of_colors
                else f"{path}: a mask of colours; name them, as in mask_colors: {{road: [128, 64, 128]}}"
            )
        if mask.dtype == np.uint8 and mask.ndim == 2:
            return self._look_up(mask, path)
        codes = mask.astype(np.int32) @ _CODE if self._of_colors else mask
        classes = np.full(codes.shape, _UNKNOWN, np.int16)
        for code, number in self._classes.items():
            classes[codes == code] = number
        unknown = classes == _UNKNOWN
        if unknown.any():
            raise self._unknown(mask[unknown][0], path)
        return classes.astype(np.uint8)

    def _look_up(self, mask: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
        """Decode bytes by a table, some ten times as fast as value by value."""
        counts = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel()
        unknown = np.flatnonzero((counts > 0) & ~self._known)
        if unknown.size:
            raise self._unknown(unknown[0], path)
        return np.asarray(cv2.LUT(mask, self._table), np.uint8)

    def _unknown(self, value: NDArray[Any], path: Path) -> DataError:
        if self._of_colors:
            kind, known, entry = "colour", "in mask_colors", f"mask_colors: {{{IGNORE}: {value.tolist()}}}"
        else:
            kind, known, entry = (
                "value",
                f"0 to {self._num_classes - 1}",
                f"mask_values: {{{value}: {IGNORE}}}",
            )
        return DataError(f"{path}: {kind} {value.tolist()} is no class ({known}); map it, as in {entry}")


#: Makes one number of red, green and blue.
_CODE: Final = np.array([1 << 16, 1 << 8, 1], np.int32)


def _code(name: str, color: tuple[int, int, int]) -> int:
    if any(not 0 <= part <= 255 for part in color):
        raise ValueError(f"mask_colors gives {name} the colour {list(color)}; its parts lie in 0 to 255")
    return int(np.array(color, np.int32) @ _CODE)
