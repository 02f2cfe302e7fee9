"""Any timm model that gives feature maps, under our contract."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Any, final

import timm
import torch
from torch import Tensor

from resvision.backbones.base import Backbone, check_features
from resvision.features import FeatureSpec
from resvision.layers.normalize import InputStatistics

__all__ = ["TimmBackbone"]


@final
class TimmBackbone(Backbone):
    """A timm model built with `features_only`; vision transformers too, where timm gives them maps.

    A first map of stride 2 is called `stem`, the following `stage1`, `stage2`, ... Where several share a stride, as in
    a vision transformer, `resvision.features.select` picks the deepest. Weights are found by timm's names; which
    parameters belong to which stage timm does not say, so they count as the last one.

    Args:
        model: timm's name.
        in_channels: Channels of the pictures.
        output_stride: Largest stride, for models that can dilate; None leaves it.
        out_features: Features to return; what timm can leave out without them is not built. All by default.

    Raises:
        ValueError: timm has no such model, it gives no feature maps, or an option is outside its range.
    """

    def __init__(
        self,
        model: str,
        *,
        in_channels: int = 3,
        output_stride: int | None = None,
        out_features: Collection[str] | None = None,
    ) -> None:
        super().__init__(in_channels)
        if not timm.is_model(model):
            near = get_close_matches(model, timm.list_models(), cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() names those that it has"
            raise ValueError(f"timm has no model {model!r}; {hint}")
        options: dict[str, Any] = {"in_chans": in_channels}
        if output_stride is not None:
            options["output_stride"] = output_stride
        with torch.device("meta"):
            info = _create(model, options).feature_info
        strides = info.reduction()
        offset = 0 if strides[0] <= 2 else 1
        names = [f"stage{number}" if number else "stem" for number in range(offset, offset + len(strides))]
        specs = dict(zip(names, map(FeatureSpec, info.channels(), strides), strict=True))
        wanted = check_features(out_features, names)
        self.network = _create(model, options, [info.out_indices[names.index(name)] for name in wanted])
        self._model = model
        self._channels_last = str(getattr(self.network, "output_fmt", "NCHW")).endswith("NHWC")
        self.feature_specs = {name: specs[name] for name in wanted}
        self.stage_parameters = dict.fromkeys(names[:-1], ()) | {names[-1]: ("network.",)}
        config = self.network.pretrained_cfg
        first = config.get("first_conv") or ()
        convolutions = (first,) if isinstance(first, str) else tuple(first)
        here = self.reference_names()
        self.input_convolutions = tuple(
            name.removesuffix(".weight") for convolution in convolutions if (name := here.get(f"{convolution}.weight"))
        )
        self.input_statistics = InputStatistics(tuple(config["mean"]), tuple(config["std"])).for_channels(in_channels)

    def reference_names(self) -> dict[str, str | None]:
        """Return the names of our tensors by those of timm's whole model; None for its head and what is not built.

        timm takes a model apart for its features: `stages.0.x` becomes `stages_0.x`, or lies below `model.` or `body.`.
        """
        with torch.device("meta"):
            whole = timm.create_model(self._model, in_chans=self.in_channels).state_dict()
        here: dict[str, str] = {}
        for name in self.state_dict():
            bare = name.removeprefix("network.")
            here |= {_flat(known): name for known in (bare, bare.removeprefix("model."), bare.removeprefix("body."))}
        return {name: here.get(_flat(name)) for name in whole}

    def compute_features(self, images: Tensor) -> dict[str, Tensor]:
        """Run timm's model, and keep the maps that are wanted."""
        try:
            maps = self.network(images)
        except AssertionError as error:
            raise ValueError(f"timm's {self._model} cannot take pictures of {tuple(images.shape)}: {error}") from error
        if self._channels_last:  # the order of axes of timm's window transformers
            maps = [x.permute(0, 3, 1, 2) for x in maps]
        return dict(zip(self.feature_specs, maps, strict=True))


def _create(model: str, options: dict[str, Any], out_indices: Sequence[int] | None = None) -> Any:
    """Build timm's model, and say its errors in our words."""
    if out_indices is not None:
        options = options | {"out_indices": tuple(out_indices)}
    # A vision transformer takes other sizes than its own when it is told to; other models have no such option.
    any_size: dict[str, Any] = {"dynamic_img_size": True, "dynamic_img_pad": True}
    try:
        try:
            return timm.create_model(model, features_only=True, **options, **any_size)
        except TypeError:
            return timm.create_model(model, features_only=True, **options)
    except (AssertionError, AttributeError, RuntimeError, TypeError) as error:
        said = ", ".join(f"{name}={value!r}" for name, value in options.items())
        why = f": {error}" if str(error) else "; output_stride is 8, 16 or 32 where it can be set"
        raise ValueError(f"timm cannot build {model!r} with {said}{why}") from error


def _flat(name: str) -> str:
    return name.replace(".", "_")
