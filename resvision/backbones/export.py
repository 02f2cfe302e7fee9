"""Take a trained backbone out, as a file that another library loads, with a proof that it computes the same there."""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from resvision.backbones.base import Backbone
from resvision.backbones.entry import BackboneEntry
from resvision.backbones.weight_files import read_state_dict
from resvision.backbones.weights import load_strictly

__all__ = ["Passport", "Target", "export_backbone"]

Target = Literal["torchvision", "timm", "safetensors"]

# The same operations on the same numbers differ by rounding alone; more means another network.
_TOLERANCE = 1e-4


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
    head: nn.Linear | None = None,
    class_names: Sequence[str] = (),
) -> Passport:
    """Write a backbone's weights, load them strictly where they are to be used, and compare the two networks.

    Args:
        backbone: It is put into evaluation mode.
        path: Where to write, `.pth` or `.safetensors`.
        entry: The backbone's entry.
        to: Who loads the file; `safetensors` is for resvision itself.
        images: Normalised pictures (N, C, H, W) to compare on.
        pictures: What they are, for the passport.
        head: The linear layer that classifies the pooled features, if there is one.
        class_names: For the passport.

    Raises:
        ValueError: The other library has no such model, or its model computes something else. Nothing is written.
    """
    backbone.eval()
    state = dict(backbone.state_dict())
    if head is not None:
        state |= {f"fc.{name}": value for name, value in head.state_dict().items()}
    state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    with torch.no_grad():
        ours = _classify(backbone, head, images)
        theirs = ours if to == "safetensors" else _run_theirs(state, backbone, entry, to, head, images)
    difference = float((ours - theirs).abs().max())
    if not difference <= _TOLERANCE:
        raise ValueError(
            f"{to}'s {entry.name} computes something else than this one, by {difference:.2g}; "
            "export it to safetensors, and load that with resvision"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    if to == "safetensors":
        difference = _reread_difference(backbone, head, path, images)
    return Passport(
        backbone=entry.name,
        loads_with=_loads_with(entry, to, path.name, None if head is None else head.out_features),
        compared="pooled features" if head is None else "logits",
        largest_difference=difference,
        pictures=pictures,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        input_mean=backbone.input_statistics.mean,
        input_std=backbone.input_statistics.std,
        class_names=tuple(class_names),
    )


def _classify(backbone: Backbone, head: nn.Linear | None, images: Tensor) -> Tensor:
    pooled: Tensor = list(backbone(images).values())[-1].mean((2, 3))
    scores: Tensor = pooled if head is None else head(pooled)
    return scores


def _run_theirs(
    state: dict[str, Tensor],
    backbone: Backbone,
    entry: BackboneEntry,
    to: Literal["torchvision", "timm"],
    head: nn.Linear | None,
    images: Tensor,
) -> Tensor:
    """Load the weights into the other library's model, and apply it."""
    name = entry.reference_in(to)
    if name is None:
        raise ValueError(
            f"{to} has no model equal to {entry.name}; export it to safetensors, and load that with resvision"
        )
    model = _build_theirs(name, to, backbone, 0 if head is None else head.out_features)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        problem = str(error).splitlines()[1].strip()
        raise ValueError(
            f"{to} has no model equal to this {entry.name}, built with other options: {problem}"
        ) from error
    scores: Tensor = model.eval()(images)
    return scores


def _build_theirs(name: str, to: Literal["torchvision", "timm"], backbone: Backbone, classes: int) -> nn.Module:
    if to == "timm":
        import timm  # takes seconds, and only this export needs it

        stride = max(spec.stride for spec in backbone.feature_specs.values())
        options: dict[str, Any] = {"output_stride": stride} if stride < 32 else {}
        model: Any = timm.create_model(name, num_classes=classes, in_chans=backbone.in_channels, **options)
    else:
        from torchvision.models import get_model  # takes seconds, and only this export needs it

        if backbone.in_channels != 3:
            raise ValueError(f"torchvision's models take 3 channels, this {name} takes {backbone.in_channels}")
        options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
        model = get_model(name, weights=None, **options)
        model.fc = nn.Linear(model.fc.in_features, classes) if classes else nn.Identity()
    network: nn.Module = model
    return network


def _loads_with(entry: BackboneEntry, to: Target, file: str, classes: int | None) -> str:
    name = entry.name if to == "safetensors" else entry.reference_in(to)
    if to == "safetensors":
        return f"resvision.create_backbone({name!r}, weights={file!r})"
    if to == "timm":
        return f"timm.create_model({name!r}, num_classes={classes or 0}, checkpoint_path={file!r})"
    fc = "torch.nn.Identity()" if classes is None else f"torch.nn.Linear(model.fc.in_features, {classes})"
    return f"model = torchvision.models.{name}(); model.fc = {fc}; model.load_state_dict(torch.load({file!r}))"


def _reread_difference(backbone: Backbone, head: nn.Linear | None, path: Path, images: Tensor) -> float:
    """Load the file into an emptied copy, and compare that with the backbone."""
    twin = copy.deepcopy(backbone)
    for value in twin.state_dict().values():
        value.zero_()
    load_strictly(twin, read_state_dict(path), source=str(path))
    with torch.no_grad():
        return float((_classify(backbone, head, images) - _classify(twin, head, images)).abs().max())
