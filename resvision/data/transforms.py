"""Augmentation, by albumentations: the only file that knows it.

albumentations is several times as fast on a CPU as the transforms of torchvision, because it resizes with OpenCV.
"""

import os
from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

# At its import albumentations asks the network whether there is a newer release, which delays every start and
# fails behind a firewall. A value that the user has set stays as it is.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations
from albumentations.core.serialization import Serializable

from resvision.batch import IGNORE_INDEX
from resvision.data.detection_geometry import LEAST_VISIBLE, Objects, fitted_size, zoomed
from resvision.data.jpeg import Picture
from resvision.data.seeding import Draws
from resvision.layers import check_whole

__all__ = [
    "Augmentation",
    "ClassificationTransform",
    "DetectionTransform",
    "MultiTaskTransform",
    "SegmentationTransform",
    "Strength",
    "checked",
]

Strength = Literal["none", "light", "strong"]
#: `Serializable` is what a transform and a pipeline of them, such as `OneOf`, have in common.
Augmentation = Strength | list[Serializable]

_UINT16_MAX: Final = 65535
#: Range of the factors by which the named strengths resize a picture with boxes beyond its usual size.
_ZOOMS: Final[dict[Strength, tuple[float, float]]] = {"none": (1, 1), "light": (0.8, 1.25), "strong": (0.5, 2)}


class SegmentationTransform:
    """Augments a picture and its mask, repeatably, to pictures of one size.

    Named strengths scale and crop first, so that colours change on the pixels that are kept. What lies
    outside the picture is black, and `IGNORE_INDEX` in the mask.

    Args:
        augmentation: A named strength, or a list of albumentations' own transforms, to be applied before the
            crop. Transforms of the list that bring in pixels from outside the picture need `fill_mask: 255`.
        crop_size: Height and width of the result in pixels; None keeps the size that the transforms give, and named
            strengths keep that of the picture.
    """

    def __init__(self, augmentation: Augmentation, crop_size: tuple[int, int] | None) -> None:
        augmentation = checked(augmentation)
        crop = [] if crop_size is None else _crop(crop_size)
        transforms = [*augmentation, *crop] if isinstance(augmentation, list) else _segmentation(augmentation, crop)
        self._compose = _Repeatable(transforms)

    def __call__(
        self, image: NDArray[Any], mask: NDArray[np.uint8], *, seed: int
    ) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Augment one picture; the result is a pure function of the arguments.

        Args:
            image: (H, W, C), uint8 or uint16.
            mask: (H, W), uint8.
            seed: Seed of every draw for this picture.

        Returns:
            The picture in the type that it had, and its mask.
        """
        result = self._compose({"image": image, "mask": mask}, seed)
        return result["image"], result["mask"]


class ClassificationTransform:
    """Augments a picture, repeatably, from one thread at a time.

    The named strengths cut out a part of random size, place and proportions and resize it (Szegedy et al. 2014,
    arXiv:1409.4842, section 6), then flip it from left to right. `light` keeps at least half of the picture and changes
    nothing else, so that with few pictures what a class is known by stays in sight; `strong` goes down to 8 %, as in
    training on ImageNet, and changes colours too.

    Args:
        augmentation: A named strength, or a list of albumentations' own transforms.
        image_size: Height and width that the named strengths cut to, in pixels.

    Raises:
        ValueError: `image_size` is below 1.
    """

    def __init__(self, augmentation: Augmentation, image_size: int) -> None:
        check_whole("image_size", image_size, 1)
        augmentation = checked(augmentation)
        if not isinstance(augmentation, list):
            augmentation = _classification(augmentation, (image_size, image_size))
        crop = _leading_crop(augmentation)
        self._compose = _Repeatable(augmentation[1:] if crop else augmentation, crop=crop)

    def __call__(self, image: Picture, *, seed: int) -> NDArray[Any]:
        """Augment one picture; the result is a pure function of the arguments.

        Args:
            image: (H, W, C), uint8 or uint16; of a file, no more is decoded than a crop that comes first keeps.
            seed: Seed of every draw for this picture.

        Returns:
            The picture in the type that it had, of the size that the transforms give.
        """
        return self._compose({"image": image}, seed)["image"]


class DetectionTransform:
    """Augments a picture and its boxes, repeatably, and resizes it.

    The named strengths resize by a random factor, cut what is then larger than the usual size at a random place (a
    simple form of the scale jitter of Ghiasi et al. 2021, arXiv:2012.07177, section 3), flip from left to right, and
    change colours. Objects of which less than a fifth is left are dropped.

    Args:
        augmentation: A named strength, or a list of albumentations' own transforms, to be applied before the resizing.
        image_size: Height and width into which a picture is fitted; or the length of its short side.

    Raises:
        ValueError: An `image_size` below 32.
    """

    def __init__(self, augmentation: Augmentation, image_size: int | tuple[int, int]) -> None:
        if np.min(image_size) < 32:
            raise ValueError(f"image_size is {image_size}; objects can be told apart from 32 pixels on")
        augmentation = checked(augmentation)
        self._image_size = image_size
        self._zoom = (1.0, 1.0) if isinstance(augmentation, list) else _ZOOMS[augmentation]
        # What a list does with the shape needs the whole picture; colours are cheaper to change on the resized one.
        before, after = (augmentation, []) if isinstance(augmentation, list) else ([], _detection(augmentation))
        self._before, self._after = (_with_boxes(part) if part else None for part in (before, after))

    def __call__(
        self, image: NDArray[Any], objects: Objects, *, zoom: bool = True, seed: int
    ) -> tuple[NDArray[Any], Objects]:
        """Augment one picture; the result is a pure function of the arguments.

        Args:
            image: (H, W, C), uint8 or uint16.
            objects: Its objects, boxes of positive size inside the picture.
            zoom: Whether to resize by a random factor, where the strength does.
            seed: Seed of every draw for this picture.

        Returns:
            The picture in the type that it had, and the objects that are left in it.
        """
        rng = np.random.default_rng(seed)
        if self._before is not None:
            image, objects = _apply_with_boxes(self._before, image, objects, seed)
        size = fitted_size((image.shape[0], image.shape[1]), self._image_size)
        factor = float(np.exp(rng.uniform(*np.log(self._zoom)))) if zoom else 1.0
        image, objects = zoomed(image, objects, size, factor, rng)
        if self._after is not None:
            image, objects = _apply_with_boxes(self._after, image, objects, seed)
        return image, objects


class MultiTaskTransform:
    """Augments a picture with its mask and its boxes, repeatably, to pictures of one size.

    The named strengths resize, flip and change colours as those for boxes do. What is then too large is cut at a random
    place, and what is too small is put at one; outside the picture it is black, and `IGNORE_INDEX` in the mask. Objects
    of which less than a fifth is left lose their boxes.

    Args:
        augmentation: A named strength, or a list of albumentations' own transforms, to be applied before the cut.
            Transforms of the list that bring in pixels from outside the picture need `fill_mask: 255`.
        crop_size: Height and width of the result in pixels.
    """

    def __init__(self, augmentation: Augmentation, crop_size: tuple[int, int]) -> None:
        augmentation = checked(augmentation)
        if isinstance(augmentation, list):
            transforms = [*augmentation, *_crop(crop_size)]
        else:
            least, most = _ZOOMS[augmentation]
            zoom = [] if least == most else _scale((least - 1, most - 1))
            transforms = [*zoom, *_crop(crop_size), *_detection(augmentation)]
        self._compose = _with_boxes(transforms)

    def __call__(
        self, image: NDArray[Any], mask: NDArray[np.uint8], objects: Objects, *, seed: int
    ) -> tuple[NDArray[Any], NDArray[np.uint8], Objects]:
        """Augment one picture; the result is a pure function of the arguments, and each part of the picture's alone.

        Args:
            image: (H, W, C), uint8 or uint16.
            mask: (H, W), uint8.
            objects: Its objects, boxes of positive size inside the picture.
            seed: Seed of every draw for this picture.

        Returns:
            The picture in the type that it had, its mask, and the objects that are left in it.
        """
        result = self._compose({"image": image, "mask": mask} | _targets(objects), seed)
        return result["image"], result["mask"], _left_of(objects, result)


class _Repeatable:
    """Transforms in a row whose result is a pure function of targets and seed.

    A crop before them cuts its part out of the picture by itself, so that no more than that need be decoded.
    """

    def __init__(
        self,
        transforms: Sequence[Serializable],
        bbox_params: albumentations.BboxParams | None = None,
        crop: albumentations.RandomResizedCrop | None = None,
    ) -> None:
        self._crop = crop
        self._compose = albumentations.Compose(transforms, bbox_params=bbox_params)
        self._draws = Draws()

    def __call__(self, targets: dict[str, Any], seed: int) -> dict[str, NDArray[Any]]:
        self._draws.seed(seed)
        targets = targets | {"image": self._cropped(targets["image"])}
        # One stream for all transforms: `set_random_seed` would give each the same draws, so that where a picture is
        # cut would also decide whether it is flipped.
        self._compose.set_random_state(self._draws.numpy, self._draws.python)
        # The library's colour transforms know uint8 and float32 only.
        wide = targets["image"].dtype == np.uint16
        if wide:
            targets = targets | {"image": targets["image"].astype(np.float32) / _UINT16_MAX}
        try:
            result: dict[str, NDArray[Any]] = self._compose(**targets)
        except Exception as error:  # those of albumentations, OpenCV and NumPy
            said = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
            size = "height {} and width {}".format(*targets["image"].shape)
            raise ValueError(
                f"a transform of data.augmentation fails on a picture of {size}; change it, or leave it out: {said}"
            ) from error
        _check_pixels(result["image"], targets["image"])
        if wide:
            result["image"] = np.rint(result["image"].clip(0, 1) * _UINT16_MAX).astype(np.uint16)
        return result

    def _cropped(self, image: Picture) -> NDArray[Any]:
        if self._crop is None:
            return image[:, :]
        self._crop.set_random_state(self._draws.numpy, self._draws.python)
        left, top, right, bottom = self._crop.get_params_dependent_on_data({"shape": image.shape}, {})["crop_coords"]
        part = image[top:bottom, left:right]
        resized: NDArray[Any] = self._crop.apply(part, crop_coords=(0, 0, right - left, bottom - top))
        return resized


def checked(augmentation: object) -> Augmentation:
    """Return an augmentation as the transforms take it; a pipeline of albumentations' own counts as a list of one.

    Raises:
        ValueError: It is no named strength, and no list of albumentations' transforms.
    """
    if isinstance(augmentation, albumentations.BaseCompose):
        return [augmentation]
    if isinstance(augmentation, list | tuple):
        for transform in augmentation:
            if not isinstance(transform, albumentations.BasicTransform | albumentations.BaseCompose):
                raise ValueError(f"augmentation lists {transform!r}, which is none of albumentations' transforms")
        return list(augmentation)
    if isinstance(augmentation, str) and augmentation in get_args(Strength):
        return augmentation  # type: ignore[return-value]  # one of them
    known = ", ".join(get_args(Strength))
    raise ValueError(f"augmentation must be {known} or a list of albumentations' transforms, got {augmentation!r}")


def _leading_crop(transforms: Sequence[Serializable]) -> albumentations.RandomResizedCrop | None:
    """Return the crop that is applied to every picture before anything else."""
    crops = (first for first in transforms[:1] if type(first) is albumentations.RandomResizedCrop and first.p >= 1)
    return next(crops, None)


def _check_size(size: object) -> None:
    sides = list(size) if isinstance(size, list | tuple) else []
    if len(sides) != 2 or any(not isinstance(side, int) or side < 1 for side in sides):
        raise ValueError(f"crop_size is {sides or size}; height and width must be whole numbers of at least 1")


def _check_pixels(image: Any, before: NDArray[Any]) -> None:
    """Refuse what some pipelines end with: here the model normalises, and batches are made later."""
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != before.shape[2]:
        shape = f" {image.shape}" if isinstance(image, np.ndarray) else ""
        raise ValueError(
            f"augmentation makes {type(image).__name__}{shape} of a picture (H, W, {before.shape[2]}); "
            "leave out ToTensorV2, and transforms that change the number of channels"
        )
    # Of 16 bits, which come as floating-point numbers from 0 to 1, it is seen by the values.
    if image.dtype != before.dtype or (image.dtype == np.float32 and not -0.5 < image.min() <= image.max() < 1.5):
        raise ValueError(
            f"augmentation makes {image.dtype} that seems normalised, as models do; leave out Normalize and ToFloat"
        )


def _with_boxes(transforms: Sequence[Serializable]) -> _Repeatable:
    boxes = albumentations.BboxParams(
        "pascal_voc", label_fields=["position"], min_visibility=LEAST_VISIBLE, clip=True, filter_invalid_bboxes=True
    )
    return _Repeatable(transforms, boxes)


def _apply_with_boxes(
    compose: _Repeatable, image: NDArray[Any], objects: Objects, seed: int
) -> tuple[NDArray[Any], Objects]:
    result = compose({"image": image} | _targets(objects), seed)
    return result["image"], _left_of(objects, result)


def _targets(objects: Objects) -> dict[str, NDArray[Any]]:
    return {"bboxes": objects.boxes, "position": np.arange(len(objects.boxes))}


def _left_of(objects: Objects, result: dict[str, NDArray[Any]]) -> Objects:
    boxes = np.asarray(result["bboxes"], np.float64).reshape(-1, 4)
    return objects.at(boxes, np.asarray(result["position"], np.int64))


def _crop(size: tuple[int, int]) -> list[Serializable]:
    _check_size(size)
    return [albumentations.RandomCrop(*size, pad_if_needed=True, pad_position="random", fill_mask=IGNORE_INDEX)]


def _scale(limits: tuple[float, float]) -> list[Serializable]:
    # Of a side of one pixel nothing might be left.
    return [albumentations.PadIfNeeded(2, 2, fill_mask=IGNORE_INDEX), albumentations.RandomScale(limits, p=1)]


def _segmentation(strength: Strength, crop: list[Serializable]) -> list[Serializable]:
    if strength == "none":
        return crop
    # Without a crop pictures keep their size, as they are to be put together in a batch.
    scales = (-0.25, 0.5) if strength == "light" else (-0.5, 1.0)
    cut = [*_scale(scales), *crop] if crop else []
    return [*cut, *_detection(strength)]


def _classification(strength: Strength, size: tuple[int, int]) -> list[Serializable]:
    if strength == "none":
        return []
    least = 0.5 if strength == "light" else 0.08
    crop = albumentations.RandomResizedCrop(size, scale=(least, 1), area_for_downscale="image")
    flip = albumentations.HorizontalFlip(p=0.5)
    return [crop, flip] if strength == "light" else [crop, flip, _colour_jitter()]


def _detection(strength: Strength) -> list[Serializable]:
    if strength == "none":
        return []
    flip = albumentations.HorizontalFlip(p=0.5)
    return [flip, albumentations.RandomBrightnessContrast(0.2, 0.2, p=0.5) if strength == "light" else _colour_jitter()]


def _colour_jitter() -> Serializable:
    span = (0.6, 1.4)
    return albumentations.ColorJitter(brightness=span, contrast=span, saturation=span, hue=(-0.1, 0.1), p=0.8)
