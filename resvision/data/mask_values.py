"""From the values in a mask file to the numbers of classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, final

import cv2
import numpy as np
from numpy.typing import NDArray

from resvision.batch import IGNORE_INDEX
from resvision.data.annotation_files import first_few
from resvision.data.errors import DataError

__all__ = ["IGNORE", "MaskDecoder"]

#: Stands in the place of a class name for pixels that belong to no class.
IGNORE: Final = "ignore"

_UNKNOWN: Final = -1

#: Values or colours that an error names before it leaves the others out.
_SHOWN: Final = 5


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
        self._class_names = tuple(class_names)
        self._values = dict(values or {})
        self._colors = dict(colors or {})
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
            raise self._unknown(np.unique(codes), path)
        return classes.astype(np.uint8)

    def _look_up(self, mask: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
        """Decode bytes by a table, some ten times as fast as value by value."""
        counts = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel()
        if ((counts > 0) & ~self._known).any():
            raise self._unknown(np.flatnonzero(counts), path)
        return np.asarray(cv2.LUT(mask, self._table), np.uint8)

    def _unknown(self, codes: NDArray[Any], path: Path) -> DataError:
        """Return the error of a file that holds these values, or colours by their codes."""
        held = codes.tolist()
        unknown = [code for code in held if code not in self._classes]
        if self._of_colors:
            kind, shown = "colour", [str([code >> 16, code >> 8 & 255, code & 255]) for code in unknown]
            known, mend = self._hint_of_colors(shown)
        else:
            kind, shown = "value", [str(code) for code in unknown]
            known, mend = self._hint_of_values(held, unknown)
        these = ", ".join(shown[:_SHOWN]) + (", ..." if len(shown) > _SHOWN else "")
        said = f"{kind} {these} is no class" if len(shown) == 1 else f"{kind}s {these} are no classes"
        return DataError(f"{path}: {said} ({known}); {mend}")

    def _hint_of_colors(self, unknown: list[str]) -> tuple[str, str]:
        """Return which classes lack a colour, and how to name the unknown ones."""
        lacking = [name for name in self._class_names if name not in self._colors]
        free = lacking if IGNORE in self._colors else [*lacking, IGNORE]
        known = f"without a colour yet: {first_few(lacking)}" if lacking else "each class has another colour"
        return known, f"add to mask_colors, as in {_entry(free, unknown)}" if free else "paint over it in the mask"

    def _hint_of_values(self, held: list[int], unknown: list[int]) -> tuple[str, str]:
        """Return which values are known, and how to name the unknown ones.

        A file in which no class but the first stands by its number may well have the others in values of their own,
        such as 255; in any other file, what is unknown is rather no class at all.
        """
        values, numbers = self._values, range(len(self._class_names))
        lacking = [name for name in self._class_names[1:] if name not in values.values()]
        by_number = any(value in numbers and value not in values for value in held if value)
        names = [] if by_number or len(lacking) > len(unknown) else lacking
        entry = _entry(unknown, [IGNORE] * (len(unknown) - len(names)) + names)
        known = f"0 to {numbers[-1]}"
        if values:
            return f"{known}, mapped {_entry([*values], [*values.values()])}", f"add to mask_values, as in {entry}"
        return known, f"map {'it' if len(unknown) == 1 else 'them'}, as in mask_values: {entry}"


def _entry(keys: Sequence[object], values: Sequence[object]) -> str:
    """Return the first pairs as a mapping of a config."""
    pairs = [f"{key}: {value}" for key, value in zip(keys, values, strict=False)]
    return f"{{{', '.join(pairs[:_SHOWN])}}}"


#: Makes one number of red, green and blue.
_CODE: Final = np.array([1 << 16, 1 << 8, 1], np.int32)


def _code(name: str, color: tuple[int, int, int]) -> int:
    if any(not 0 <= part <= 255 for part in color):
        raise ValueError(f"mask_colors gives {name} the colour {list(color)}; its parts lie in 0 to 255")
    return int(np.array(color, np.int32) @ _CODE)
