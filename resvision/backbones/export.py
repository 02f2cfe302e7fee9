"""Take a trained backbone out, as a file that another library loads, with a proof that it computes the same there."""

import contextlib
import copy
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors.torch import save
from torch import Tensor, nn

from resvision.backbones.base import Backbone
from resvision.backbones.entry import BackboneEntry
from resvision.backbones.weights import load_strictly

__all__ = ["Passport", "Target", "export_backbone", "write_whole"]

Target = Literal["torchvision", "timm", "safetensors"]

# The same operations on the same numbers differ by rounding alone; more means another network.
_TOLERANCE = 1e-4

# Its auxiliary classifiers are for training only, and it warns when it is not told how to begin.
_TORCHVISION_OPTIONS = {"googlenet": {"aux_logits": False, "init_weights": False}}


@dataclass(frozen=True)
class Passport:
    """What is said beside an exported file.

    Args:
        backbone: Our name of the network.
        loads_with: Code that loads the file.
        compared: What was compared, `logits` or `pooled features`.
        largest_difference: Between ours and theirs, over all pictures.
        pictures: Which pictures were compared.
        sha256: Digest of the file.
        input_mean: Of the pixels scaled to 0..1, one per channel.
        input_std: The same.
        class_names: In the order of the scores; of the run that trained the backbone, if it has no classifier.
    """

    backbone: str
    loads_with: str
    compared: str
    largest_difference: float
    pictures: str
    sha256: str
    input_mean: tuple[float, ...]
    input_std: tuple[float, ...]
    class_names: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Return plain data, for JSON."""
        return asdict(self)


def export_backbone(
    backbone: Backbone,
    path: Path,
    *,
    entry: BackboneEntry,
    to: Target,
    images: Tensor,
    pictures: str,
    options: Mapping[str, Any] | None = None,
    head: nn.Linear | None = None,
    logits: Tensor | None = None,
    class_names: Sequence[str] = (),
) -> Passport:
    """Write a backbone's weights, load them strictly where they are to be used, and compare the two networks.

    Args:
        backbone: It is put into evaluation mode.
        path: Where to write, `.pth` or `.safetensors`; the latter's header says the input statistics.
        entry: The backbone's entry.
        to: Who loads the file; `safetensors` is for resvision itself.
        images: Normalised pictures (N, C, H, W) to compare on.
        pictures: What they are, for the passport.
        options: What the backbone was built with, for the passport.
        head: The linear layer that classifies the pooled features, if there is one.
        logits: What the trained model says of the pictures (N, classes), if it is a classifier; by default what
            `head` says of the pooled features.
        class_names: For the passport.

    Raises:
        ValueError: The other library has no such model, or its model computes something else. Nothing is written.
        OSError: The file cannot be written. No part of it stays behind.
    """
    backbone.eval()
    with torch.no_grad():
        ours = _classify(backbone, head, images) if logits is None else logits
        if to == "safetensors":
            state = _named_as_reference(backbone) | _as_fc(head)
            theirs = _reloaded(state, backbone, head, images)
        else:
            model, state = _load_theirs(backbone, entry, to, head)
            theirs = model.eval()(images)
    difference = float((ours - theirs).abs().max())
    if not difference <= _TOLERANCE:
        raise ValueError(
            f"{to}'s {entry.name} computes something else than this one, by {difference:.2g}; "
            "export it to safetensors, and load that with resvision"
        )
    statistics = backbone.input_statistics
    if path.suffix == ".safetensors":
        said = {"input_mean": json.dumps(statistics.mean), "input_std": json.dumps(statistics.std)}
        content = save(state, metadata={"format": "pt", **said})
    else:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
    write_whole(path, content)
    return Passport(
        backbone=entry.name,
        loads_with=_loads_with(backbone, entry, to, path.name, head, options or {}),
        compared="pooled features" if head is None else "logits",
        largest_difference=difference,
        pictures=pictures,
        sha256=hashlib.sha256(content).hexdigest(),
        input_mean=statistics.mean,
        input_std=statistics.std,
        class_names=tuple(class_names),
    )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, and the folders above it, as a whole or not at all.

    Raises:
        OSError: It cannot be written; the message names the path, the reason and the mend.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}; name another path") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _classify(backbone: Backbone, head: nn.Linear | None, images: Tensor) -> Tensor:
    pooled: Tensor = list(backbone(images).values())[-1].mean((2, 3))
    scores: Tensor = pooled if head is None else head(pooled)
    return scores


def _named_as_reference(backbone: Backbone) -> dict[str, Tensor]:
    own = backbone.state_dict()
    names = backbone.reference_names().items()
    return {theirs: own[ours].cpu().contiguous() for theirs, ours in names if ours is not None}


def _as_fc(head: nn.Linear | None) -> dict[str, Tensor]:
    return {} if head is None else {f"fc.{name}": value.cpu().contiguous() for name, value in head.state_dict().items()}


def _reloaded(state: dict[str, Tensor], backbone: Backbone, head: nn.Linear | None, images: Tensor) -> Tensor:
    """Load the weights into an emptied copy of ours, and apply that."""
    twin = copy.deepcopy(backbone)
    for value in twin.state_dict().values():
        value.zero_()
    load_strictly(twin, state, source="the export")
    return _classify(twin, head, images)


def _load_theirs(
    backbone: Backbone, entry: BackboneEntry, to: Literal["torchvision", "timm"], head: nn.Linear | None
) -> tuple[nn.Module, dict[str, Tensor]]:
    """Load the weights strictly into the other library's model; return it and the weights as it names them."""
    name = entry.reference_in(to)
    if name is None:
        raise ValueError(
            f"{to} has no model equal to {entry.name}; export it to safetensors, and load that with resvision"
        )
    model = _build_theirs(name, to, backbone, 0 if head is None else head.out_features)
    state = _named_as_reference(backbone)
    try:
        for key, value in _as_fc(head).items():
            place = key.replace("fc", _classifier_name(model, to))
            # A pre-activation network of timm's classifies by a 1x1 convolution.
            state[place] = value.reshape(model.get_parameter(place).shape)
        model.load_state_dict(state)
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise ValueError(
            f"{to} has no model equal to this {entry.name}, built with other options: {problem}"
        ) from error
    return model, state


def _classifier_name(model: nn.Module, to: Literal["torchvision", "timm"]) -> str:
    if to == "torchvision":
        return "fc"
    classifier: nn.Module = cast("Any", model).get_classifier()
    names: list[str] = [name for name, module in model.named_modules() if module is classifier]
    return names[0]


def _build_theirs(name: str, to: Literal["torchvision", "timm"], backbone: Backbone, classes: int) -> nn.Module:
    if to == "timm":
        import timm  # takes seconds, and only this export needs it

        model: Any = timm.create_model(name, num_classes=classes, **_timm_options(backbone))
    else:
        from torchvision.models import get_model  # takes seconds, and only this export needs it

        if backbone.in_channels != 3:
            raise ValueError(f"torchvision's models take 3 channels, this {name} takes {backbone.in_channels}")
        model = get_model(name, weights=None, **_TORCHVISION_OPTIONS.get(name, {}))
        model.fc = nn.Linear(model.fc.in_features, classes) if classes else nn.Identity()
    network: nn.Module = model
    return network


def _timm_options(backbone: Backbone) -> dict[str, Any]:
    stride = max(spec.stride for spec in backbone.feature_specs.values())
    channels = {"in_chans": backbone.in_channels} if backbone.in_channels != 3 else {}
    return channels | ({"output_stride": stride} if stride < 32 else {})


def _loads_with(
    backbone: Backbone, entry: BackboneEntry, to: Target, file: str, head: nn.Linear | None, options: Mapping[str, Any]
) -> str:
    if to == "safetensors":
        return f"backbone = resvision.create_backbone({_call(entry.name, options)}, weights={file!r})"
    name = entry.reference_in(to) or entry.name
    classes = 0 if head is None else head.out_features
    if to == "timm":
        options = _timm_options(backbone) | {"num_classes": classes, "checkpoint_path": file}
        return f"model = timm.create_model({_call(name, options)})"
    read = f"safetensors.torch.load_file({file!r})" if file.endswith(".safetensors") else f"torch.load({file!r})"
    fc = f"torch.nn.Linear(model.fc.in_features, {classes})" if classes else "torch.nn.Identity()"
    model = f"torchvision.models.get_model({_call(name, _TORCHVISION_OPTIONS.get(name, {}))})"
    return f"model = {model}; model.fc = {fc}; model.load_state_dict({read})"


def _call(name: str, options: Mapping[str, Any]) -> str:
    return ", ".join([repr(name), *(f"{option}={value!r}" for option, value in options.items())])
