"""Any timm model that gives feature maps, under our contract."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Any, final

import timm
from torch import Tensor

from resvision.backbones.base import Backbone, check_features
from resvision.backbones.entry import BackboneEntry
from resvision.backbones.weight_sources import read_weights
from resvision.features import FeatureSpec
from resvision.layers.normalize import InputStatistics

__all__ = ["TimmBackbone"]


@final
class TimmBackbone(Backbone):
    """A timm model built with `features_only`; vision transformers too, where timm gives them maps.

    A first map of stride 2 is called `stem`, the following `stage1`, `stage2`, ... Where several share a stride, as in
    a vision transformer, `resvision.features.select` picks the deepest. Parameters keep timm's names, which are not
    grouped by stage: they count as the last one.

    Args:
        model: timm's name.
        in_channels: Channels of the pictures; timm adapts pretrained weights itself.
        output_stride: Largest stride, for models that can dilate; None leaves it.
        weights: See `create_backbone`; `timm/<tag>` is a tag of this model.
        out_features: Features to return; timm computes the others too. All by default.

    Raises:
        ValueError: timm has no such model, it gives no feature maps, or an option is outside its range.
    """

    def __init__(
        self,
        model: str,
        *,
        in_channels: int = 3,
        output_stride: int | None = None,
        weights: str | None = None,
        out_features: Collection[str] | None = None,
    ) -> None:
        super().__init__(in_channels)
        self.network = _create(model, in_channels, output_stride, weights)
        info = self.network.feature_info
        strides = info.reduction()
        offset = 0 if strides[0] <= 2 else 1
        names = [f"stage{number}" if number else "stem" for number in range(offset, offset + len(strides))]
        specs = dict(zip(names, map(FeatureSpec, info.channels(), strides), strict=True))
        self._names = tuple(names)
        self._channels_last = str(getattr(self.network, "output_fmt", "NCHW")).endswith("NHWC")
        self.feature_specs = {name: specs[name] for name in check_features(out_features, names)}
        self.stage_parameters = dict.fromkeys(names[:-1], ()) | {names[-1]: ("network.",)}
        self.input_convolutions = ()
        config = self.network.pretrained_cfg
        self.input_statistics = InputStatistics(tuple(config["mean"]), tuple(config["std"])).for_channels(in_channels)

    def compute_features(self, images: Tensor) -> dict[str, Tensor]:
        """Run timm's model, and keep the maps that are wanted."""
        maps = self.network(images)
        if self._channels_last:  # the order of axes of timm's window transformers
            maps = [x.permute(0, 3, 1, 2) for x in maps]
        features = dict(zip(self._names, maps, strict=True))
        return {name: features[name] for name in self.feature_specs}


def _create(model: str, in_channels: int, output_stride: int | None, weights: str | None) -> Any:
    """Build timm's model, and say its errors in our words."""
    if not timm.is_model(model):
        near = get_close_matches(model, timm.list_models(), cutoff=0.5)
        raise ValueError(f"timm has no model {model!r}; did you mean {' or '.join(near) or 'another'}?")
    options: dict[str, Any] = {"features_only": True, "in_chans": in_channels}
    if output_stride is not None:
        options["output_stride"] = output_stride
    if weights is not None:
        # Read by us, so that nothing but tensors is ever unpickled; renamed, adapted and loaded by timm.
        entry = BackboneEntry(f"timm/{model}", TimmBackbone, references=(f"timm/{model}",))
        options["pretrained_cfg_overlay"] = {"state_dict": read_weights(weights, entry).state}
        options["pretrained"] = True
        if weights.startswith("timm/"):  # with its tag, timm knows the statistics of its pictures
            model = f"{model}.{weights.removeprefix('timm/')}"
    try:
        return timm.create_model(model, **options)
    except (AssertionError, AttributeError, RuntimeError, TypeError) as error:
        raise ValueError(f"timm cannot build {model!r} with these options or weights: {error}") from error
