"""What a feature map is, and how a consumer picks the ones it wants: by stride."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["FeatureSpec", "select"]


@dataclass(frozen=True)
class FeatureSpec:
    """Size of one feature map, known before any picture is seen.

    Args:
        channels: C of the map (N, C, H / stride, W / stride).
        stride: Pixels of the input per pixel of the map, along each side; odd sides are rounded up.
    """

    channels: int
    stride: int


def select(specs: Mapping[str, FeatureSpec], strides: Iterable[int]) -> tuple[str, ...]:
    """Name the deepest feature of each stride asked for, in the order asked.

    Args:
        specs: Features ordered fine to coarse. A dilated network has several of one stride.
        strides: Strides wanted.

    Raises:
        ValueError: A stride is not among the specs; the message lists those that are.
    """
    deepest = {spec.stride: name for name, spec in specs.items()}
    wanted = tuple(strides)
    missing = [stride for stride in wanted if stride not in deepest]
    if missing:
        raise ValueError(f"no feature of stride {missing}; there are features of stride {sorted(deepest)}")
    return tuple(deepest[stride] for stride in wanted)
