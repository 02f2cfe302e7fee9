"""Fine-tuning: which parts of a pretrained model train, from when on, and how fast."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, Final, Literal, NamedTuple, TypedDict, final, get_args

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from resvision.backbones import Backbone
from resvision.tasks.parameters import parameter_groups

__all__ = ["PRESETS", "FineTune", "FineTuneSettings", "FineTuner", "FineTuning", "Preset", "no_weights"]

Preset = Literal["head", "gradual", "full"]
NormPolicy = Literal["train", "follow", "fixed"]


class FineTuneSettings(TypedDict, total=False):
    """A preset, and what is to differ from it; see `FineTuning`."""

    preset: Preset
    frozen_epochs: int | None
    stage_epochs: int
    backbone_lr: float
    stage_lr_decay: float
    batch_norm: NormPolicy


FineTune = Preset | FineTuneSettings | None
"""What a task is told: a preset, a preset with changes, or None to train all parts alike."""


@final
@dataclass(frozen=True)
class FineTuning:
    """The settings that a preset stands for.

    Args:
        frozen_epochs: Epochs in which only the head trains; None is all of them.
        stage_epochs: Epochs from one stage of the backbone beginning to train until the next finer one does (Howard,
            Ruder 2018, arXiv:1801.06146, section 3.3); 0 starts all at once.
        backbone_lr: Learning rate of the coarsest stage, as a share of the optimiser's, which is the head's. A head
            multiplier of 10, as others say, is 0.1 here.
        stage_lr_decay: Learning rate of a stage, as a share of the next coarser one's (the same paper, section 3.2).
        batch_norm: Where the backbone's batch norms take their statistics from while training: `train`, the batch;
            `follow`, the batch where the stage trains and the pretraining where it is frozen; `fixed`, the pretraining.

    Raises:
        ValueError: A setting is out of its range.
    """

    frozen_epochs: int | None = 0
    stage_epochs: int = 0
    backbone_lr: float = 0.1
    stage_lr_decay: float = 1.0
    batch_norm: NormPolicy = "fixed"

    def __post_init__(self) -> None:
        if (self.frozen_epochs or 0) < 0 or self.stage_epochs < 0:
            raise ValueError(
                f"frozen_epochs and stage_epochs must be 0 or more, got {self.frozen_epochs} and {self.stage_epochs}"
            )
        for name in ("backbone_lr", "stage_lr_decay"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is a factor above 0, got {value}")
        if self.batch_norm not in get_args(NormPolicy):
            raise ValueError(f"batch_norm must be one of {', '.join(get_args(NormPolicy))}, got {self.batch_norm!r}")

    @staticmethod
    def of(said: Preset | Mapping[str, Any]) -> "FineTuning":
        """Return the settings of a preset, with the changes that were made to it.

        Raises:
            ValueError: It is neither, there is no such preset or setting, or a value is out of its range.
        """
        changes = {"preset": said} if isinstance(said, str) else _settings(said)
        preset = changes.pop("preset", "full")
        if preset not in PRESETS:
            raise ValueError(f"finetune must be one of {', '.join(PRESETS)}, got {preset!r}")
        known = [field.name for field in fields(FineTuning)]
        for name in changes:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are preset, {', '.join(known)}"
                raise ValueError(f"finetune has no setting {name!r}; {hint}")
        return replace(PRESETS[preset], **changes)


def _settings(said: object) -> dict[str, Any]:
    if not isinstance(said, Mapping):
        raise ValueError(
            f"finetune is a preset, or a mapping such as {{'preset': 'full', 'backbone_lr': 0.05}}, got {said!r}"
        )
    return dict(said)


PRESETS: Final[Mapping[Preset, FineTuning]] = {
    "head": FineTuning(frozen_epochs=None),
    "gradual": FineTuning(frozen_epochs=1, stage_epochs=1, stage_lr_decay=0.7),
    "full": FineTuning(stage_lr_decay=0.7),
}
"""The three ways to fine-tune; `docs/finetuning.md` shows what they were chosen by."""


class _Part(NamedTuple):
    """A stage of the backbone, or something that comes after the backbone.

    Attributes:
        name: As in the backbone's feature specs, or of the model's child.
        modules: All of its modules.
        parameters: All of its parameters.
        start: Epoch from which it trains; infinite if it never does.
        lr_factor: Its learning rate as a share of the optimiser's.
        is_stage: Whether it belongs to the backbone.
    """

    name: str
    modules: list[nn.Module]
    parameters: list[nn.Parameter]
    start: float
    lr_factor: float
    is_stage: bool


@final
class FineTuner:
    """Applies the settings to a model.

    Nothing is remembered: what trains is a function of the epoch, and every parameter is in the optimiser from the
    first step, so that a run that is stopped goes on as it would have.

    Args:
        model: Has a `backbone`; all of its other children are the head, a decoder too.
        settings: What to do.
        task: What the model is a part of; its other parameters are the head's too.

    Raises:
        ValueError: The backbone has a parameter that none of its stages names.
    """

    def __init__(self, model: nn.Module, settings: FineTuning, task: nn.Module | None = None) -> None:
        self.settings = settings
        self.parts = _parts(model, settings, model if task is None else task)

    def groups(self) -> list[dict[str, Any]]:
        """Return parameter groups `<part>` and `<part>/no_decay`, whose learning rates want to be times `lr_factor`."""
        return [
            group | {"lr_factor": part.lr_factor}
            for part in self.parts
            for group in parameter_groups(part.parameters, part.name)
        ]

    def prepare(self, epoch: int) -> None:
        """Freeze and thaw for an epoch, counted from 0; the model is in training mode.

        A frozen stage computes as in evaluation, so it drops nothing; its batch norms do as `batch_norm` says.
        """
        policy = self.settings.batch_norm
        for part in self.parts:
            if not part.is_stage:  # trains from the start, but for what somebody else has frozen
                continue
            trains = epoch >= part.start
            for parameter in part.parameters:
                parameter.requires_grad_(trains)
            for module in part.modules:
                module.training = trains
                if isinstance(module, _BatchNorm):
                    module.training = policy == "train" or (policy == "follow" and trains)

    def table(self, peaks: Mapping[str, float]) -> str:
        """Return what trains, part by part, in plain text.

        Args:
            peaks: Highest learning rate by the name of the parameter group.
        """
        width = max(len(part.name) for part in self.parts)
        lines = [f"{'stage':{width}}  {'parameters':>11}  {'trains':13}  {'learning rate':13}  batch norm"]
        for part in self.parts:
            if not part.parameters:
                continue
            count = sum(parameter.numel() for parameter in part.parameters)
            rate = "-" if math.isinf(part.start) else f"{_rate_of(part.name, peaks):.3g}"
            lines.append(
                f"{part.name:{width}}  {count:11,}  {_when(part.start):13}  {rate:13}  {self._norms(part)}".rstrip()
            )
        total = sum(parameter.numel() for part in self.parts for parameter in part.parameters)
        return "\n".join([*lines, f"{'all':{width}}  {total:11,}"])

    def _norms(self, part: _Part) -> str:
        if not any(isinstance(module, _BatchNorm) for module in part.modules):
            return "none"
        fixed = "statistics of pretraining"
        if not part.is_stage or self.settings.batch_norm == "train":
            return "statistics of the batch"
        if self.settings.batch_norm == "fixed" or math.isinf(part.start):
            return fixed
        return f"{fixed} until then" if part.start else "statistics of the batch"


def _parts(model: nn.Module, settings: FineTuning, task: nn.Module) -> list[_Part]:
    """Return the stages that have parameters, fine to coarse, and then what comes after the backbone."""
    backbone = model.backbone
    assert isinstance(backbone, Backbone)
    stages = []
    for name, prefixes in backbone.stage_parameters.items():
        parameters = [parameter for key, parameter in backbone.named_parameters() if key.startswith(prefixes)]
        modules = [module for key, module in backbone.named_modules() if f"{key}.".startswith(prefixes)]
        if parameters:
            stages.append((name, modules, parameters))
    parts = []
    for depth, (name, modules, parameters) in zip(range(len(stages) - 1, -1, -1), stages, strict=True):
        frozen = settings.frozen_epochs
        start = math.inf if frozen is None else float(frozen + depth * settings.stage_epochs)
        factor = settings.backbone_lr * settings.stage_lr_decay**depth
        parts.append(_Part(name, modules, parameters, start, factor, is_stage=True))
    for name, child in _children_beside(model, backbone):
        if list(child.parameters()):
            parts.append(_Part(name, list(child.modules()), list(child.parameters()), 0.0, 1.0, is_stage=False))
    _add_rest(parts, backbone, task)
    return parts


def _add_rest(parts: list[_Part], backbone: Backbone, task: nn.Module) -> None:
    """Add the parameters of a task that are in no part yet to that of the head."""
    known = {parameter for part in parts for parameter in part.parameters}
    for name, parameter in backbone.named_parameters():
        if parameter not in known:
            kind = type(backbone).__name__
            raise ValueError(f"no stage has the parameter {name}: name it in the `stage_parameters` of {kind}")
    rest = [parameter for parameter in task.parameters() if parameter not in known]
    if rest and not any(part.name == "head" for part in parts):
        parts.append(_Part("head", [], [], 0.0, 1.0, is_stage=False))
    for part in parts:
        if part.name == "head":
            part.parameters.extend(rest)


def no_weights(backbone: str) -> ValueError:
    """Return what to say where fine-tuning is asked for, and no weights of the backbone are given."""
    return ValueError(
        "finetune needs pretrained weights to start from, and weights is null: give the path of a file, or a "
        f"name to fetch, of those that `resvision backbones show {backbone}` lists; "
        "or finetune: null to train from random numbers"
    )


def _children_beside(model: nn.Module, backbone: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts of a model that the backbone is no part of, by name."""
    for name, child in model.named_children():
        if child is backbone:
            continue
        if any(part is backbone for part in child.modules()):
            yield from _children_beside(child, backbone)
        else:
            yield name, child


def _when(start: float) -> str:
    if math.isinf(start):
        return "never"
    # People, and the progress bar, count from 0.
    return f"from epoch {start:.0f}" if start else "from start"


def _rate_of(part: str, peaks: Mapping[str, float]) -> float:
    return next(peak for name, peak in peaks.items() if name.split("/")[0] == part)
