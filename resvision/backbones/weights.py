"""Load pretrained weights into a backbone, strictly."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from resvision.backbones.base import Backbone
from resvision.backbones.entry import BackboneEntry
from resvision.backbones.weight_sources import read_weights

__all__ = ["adapt_input_convolution", "load_strictly", "load_weights"]

# What a classifier has beyond its backbone; no backbone needs it.
_HEADS = ("fc.", "classifier.", "head.", "linear.", "aux1.", "aux2.")

# Where training programs keep the backbone: bare, wrapped for several devices or compiled, or inside a
# model of ours.
_PREFIXES = ("", "module.", "_orig_mod.", "backbone.", "model.backbone.")


class _Key(NamedTuple):
    name: str
    reason: str


def load_weights(backbone: Backbone, source: str, *, entry: BackboneEntry) -> None:
    """Load weights into a backbone, and tell it the statistics of the pictures that they were trained on.

    Args:
        backbone: Changed in place.
        source: See `read_weights`.
        entry: The backbone's entry, whose references say what it is called elsewhere.

    Raises:
        ValueError: The weights are of another network; the message lists by stage what is missing, unexpected or of
            another shape.
        FileNotFoundError: They are not there, or cannot be fetched.
    """
    weights = read_weights(source, entry)
    load_strictly(backbone, weights.state, source=source)
    if weights.statistics is not None:
        backbone.input_statistics = weights.statistics.for_channels(backbone.in_channels)


def load_strictly(backbone: Backbone, state: dict[str, Tensor], *, source: str) -> None:
    """Load a state dict; only a classifier's head and stages that were not built may be left over.

    Args:
        backbone: Changed in place.
        state: Parameters under the reference's names, perhaps inside a larger model's.
        source: Where they come from, for the message.

    Raises:
        ValueError: Parameters are missing, unexpected or of another shape, listed by stage.
    """
    state = _of_backbone(backbone, state)
    for name in (f"{convolution}.weight" for convolution in backbone.input_convolutions):
        if name in state and state[name].ndim == 4:
            state[name] = adapt_input_convolution(state[name], backbone.in_channels)
    own = backbone.state_dict()
    counters = {key for key in {*own, *state} if key.endswith(".num_batches_tracked")}
    problems = [
        *(_Key(key, "missing") for key in own if key not in state and key not in counters),
        *(_Key(key, "unexpected") for key in state if key not in own and key not in counters),
        *(
            _Key(f"{key} {tuple(state[key].shape)}, not {tuple(own[key].shape)}", "wrong shape")
            for key in own
            if key in state and state[key].shape != own[key].shape
        ),
    ]
    if problems:
        raise ValueError(f"{source} holds the weights of another network:\n{_report(backbone, problems)}")
    # Not strict only about the batch counters, which networks without batch norm and old files lack.
    backbone.load_state_dict(state, strict=False)


def adapt_input_convolution(weight: Tensor, in_channels: int) -> Tensor:
    """Make the first convolution's weight (O, I, H, W) fit other pictures, as timm does.

    One channel gets the sum over the colours, as grey is all of them at once; more repeat the colours in
    turn, scaled so that the response keeps its size.
    """
    known = weight.shape[1]
    if in_channels == known:
        return weight
    if in_channels == 1:
        return weight.sum(dim=1, keepdim=True)
    return weight[:, torch.arange(in_channels) % known] * (known / in_channels)


def _of_backbone(backbone: Backbone, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keep what belongs to the backbone, under the backbone's own names."""
    own = backbone.state_dict()
    names: dict[str, str | None] = backbone.reference_names() | {name: name for name in own}
    first = next((f"{convolution}.weight" for convolution in backbone.input_convolutions), next(iter(own)))
    beginnings = [name for name, ours in names.items() if ours == first]
    prefix = next((p for p in _PREFIXES if any(p + name in state for name in beginnings)), "")
    stages = backbone.stage_parameters.values()
    unbuilt = [stage for stage in stages if not any(name.startswith(stage) for name in own)]
    left_over = (*_HEADS, *chain.from_iterable(unbuilt))
    kept = {}
    for name, value in state.items():
        theirs = name.removeprefix(prefix)
        ours = names.get(theirs, theirs)
        if name.startswith(prefix) and ours is not None and (ours in own or not ours.startswith(left_over)):
            kept[ours] = value
    return kept


def _report(backbone: Backbone, problems: Iterable[_Key]) -> str:
    """List the names of the problems, one line per stage and kind, and at most three names in each."""
    lines: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, reason in problems:
        stages = backbone.stage_parameters.items()
        stage = next((stage for stage, parameters in stages if name.startswith(parameters)), "elsewhere")
        lines[stage, reason].append(name)
    order = [*backbone.stage_parameters, "elsewhere"]
    return "\n".join(
        f"  {stage}: {len(names)} {reason}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        for (stage, reason), names in sorted(lines.items(), key=lambda item: order.index(item[0][0]))
    )
