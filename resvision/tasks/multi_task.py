"""Several kinds of labels at once, by one backbone."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, TypedDict, final, get_args

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from resvision.batch import LabelKind, MultiTaskBatch
from resvision.losses import FixedWeights, TaskWeighting, UncertaintyWeights
from resvision.models import Branch, ClassificationBranch, Detection, DetectionBranch, MultiHead, SegmentationBranch
from resvision.tasks.agreement import check_classes
from resvision.tasks.base import VisionTask
from resvision.tasks.classification_evaluation import ClassificationEvaluation
from resvision.tasks.detection_evaluation import DetectionEvaluation
from resvision.tasks.evaluation import Evaluation
from resvision.tasks.finetuning import FineTune
from resvision.tasks.networks import build_encoder, in_channels_last
from resvision.tasks.schedules import WarmupCosine
from resvision.tasks.segmentation_evaluation import SegmentationEvaluation
from resvision.tasks.tables import cell

__all__ = ["MultiTask", "MultiTaskAnswers"]

#: The score of each kind by which the task of that kind alone chooses its best checkpoint.
_MAIN_SCORES: Final[Mapping[LabelKind, str]] = {
    "classification": "accuracy",
    "segmentation": "miou",
    "detection": "map",
}
_EVALUATIONS: Final[Mapping[LabelKind, type[Evaluation]]] = {
    "classification": ClassificationEvaluation,
    "segmentation": SegmentationEvaluation,
    "detection": DetectionEvaluation,
}


class MultiTaskAnswers(TypedDict, total=False):
    """What is said of pictures, by the kinds that the task knows.

    Attributes:
        classification: (N, num_classes), logits.
        segmentation: (N, num_classes, H, W), logits.
        detection: N, in pixels of the pictures as given.
    """

    classification: Tensor
    segmentation: Tensor
    detection: list[Detection]


@final
class MultiTask(VisionTask):
    """Train and score one backbone with a head for each kind of label, all at once.

    A picture may lack kinds of labels: it trains the others, and counts in their scores. The loss of a kind is a mean
    over the pictures of a batch that have it, as it is in the task of that kind alone with its default settings.

    Logs, under `val/` and `test/`: `score`, the mean of the kinds' main scores, which are `classification/accuracy`,
    `segmentation/miou` and `detection/map`; `loss`; for each kind what the task of that kind alone logs, but a
    calibration over a temperature, as in `segmentation/iou/<class>`; and, where they are learned, the weights, as
    `segmentation/weight`. A kind that the split has no label of is left out.

    With several processes use `trainer.strategy: ddp_find_unused_parameters_true` where a batch may lack a whole kind.

    Args:
        class_names: For each kind of label there is, `classification`, `segmentation` or `detection`, one name per
            class, in the order of their numbers.
        backbone: Encoder, by its name in the registry.
        weights: Pretrained weights of the encoder: a file, `timm/<tag>`, `torchvision/<name>`, `hf-hub:<repository>` or
            a URL that ends in `#sha256=<digest>`. Read once: a checkpoint of the task holds the trained ones and does
            not ask for these again.
        backbone_options: Further options of the backbone, by name.
        in_channels: Channels of the pictures.
        input_size: To what pictures are resized before they are given to the model, which a checkpoint tells those who
            predict: the length of the short side, or a height and width to fit into. From the command line it is that
            of the data; None takes pictures as they are.
        finetune: How to carry the weights over to these pictures: a preset, `head`, `gradual` or `full`, or a preset
            with changes to its settings; None trains all parts alike. See `FineTuning`.
        task_weights: Factor of each kind's loss, 1 where none is given; or `uncertainty`, to learn them (see
            `UncertaintyWeights`). The loss of the boxes, which is no likelihood, then goes with that of their classes.
        decoder_stride: Stride at which the decoder of the segmentation ends, one of the backbone's.
        decoder_widths: Channels after each step of that decoder, coarse to fine; by default those of `UNetDecoder`.
        strides: Strides of the detection's pyramid, fine to coarse; by default 8, 16, 32, 64, 128.
        channels: Channels of that pyramid and of its head.
        optimizer: Builds the optimiser from parameter groups.
        scheduler: Builds the schedule from the optimiser; None keeps the learning rate.

    Raises:
        ValueError: No kind of label, an unknown one, a kind with too few classes or a repeated name; a weight of a kind
            there is not, or out of range; or an unknown backbone, option, stride or set of weights.
    """

    labels: ClassVar[str | None] = "labels"
    monitor: ClassVar[str] = "val/score"
    mode: ClassVar[Literal["min", "max"]] = "max"

    model: MultiHead

    def __init__(
        self,
        class_names: dict[LabelKind, list[str]],
        *,
        backbone: str = "resnet18",
        weights: str | None = None,
        backbone_options: dict[str, Any] | None = None,
        in_channels: int = 3,
        input_size: int | tuple[int, int] | None = None,
        finetune: FineTune = None,
        task_weights: dict[LabelKind, float] | Literal["uncertainty"] | None = None,
        decoder_stride: int = 4,
        decoder_widths: list[int] | None = None,
        strides: list[int] | None = None,
        channels: int = 256,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, fused=True),
        scheduler: LRSchedulerCallable | None = WarmupCosine,
    ) -> None:
        _check_names(class_names)
        together = dict.fromkeys(name for names in class_names.values() for name in names)
        super().__init__([*together], optimizer=optimizer, scheduler=scheduler, finetune=finetune)
        self.save_hyperparameters(ignore=["optimizer", "scheduler"], logger=False)
        self.class_names_by_kind = {kind: tuple(map(str, names)) for kind, names in class_names.items()}
        self.input_size = input_size
        encoder = build_encoder(backbone, weights=weights, in_channels=in_channels, options=backbone_options)
        specs = encoder.feature_specs
        builders: dict[LabelKind, Callable[[int], Branch]] = {
            "classification": lambda count: ClassificationBranch(specs, count),
            "segmentation": lambda count: SegmentationBranch(
                specs, count, decoder_stride=decoder_stride, decoder_widths=decoder_widths
            ),
            "detection": lambda count: DetectionBranch(
                specs, count, strides=strides or (8, 16, 32, 64, 128), channels=channels
            ),
        }
        branches = {kind: builders[kind](len(names)) for kind, names in class_names.items()}
        self.model = in_channels_last(MultiHead(encoder, branches, _weighting(task_weights, class_names)))
        self.evaluations = nn.ModuleDict({kind: _EVALUATIONS[kind](names) for kind, names in class_names.items()})
        self._last_scores: dict[LabelKind, dict[str, float]] = {}

    def check_classes(self, data: object) -> None:
        """Compare the classes of each kind with those of a data module, if it says any.

        Raises:
            ValueError: They are others, or in another order.
        """
        theirs = getattr(data, "class_names_by_kind", None)
        if theirs is not None:
            check_classes(_listed(theirs), _listed(self.class_names_by_kind), between="; ")

    def forward(self, images: Tensor, sizes: Tensor | None = None) -> MultiTaskAnswers:
        """Map pixels (N, C, H, W), uint8, uint16 or floating in 0..1, to what is said of them.

        Args:
            images: The pictures.
            sizes: (N, 2), height and width of their content, where the rest is padding.
        """
        said = self.model(images)
        answers = MultiTaskAnswers()
        if "classification" in said:
            answers["classification"] = said["classification"]
        if "segmentation" in said:
            answers["segmentation"] = said["segmentation"]
        if "detection" in said:
            answers["detection"] = self._detections(said["detection"], sizes)
        return answers

    def _detections(self, said: Any, sizes: Tensor | None) -> list[Detection]:
        branch = self.model.branch("detection")
        assert isinstance(branch, DetectionBranch)
        return branch.rules.detections(said, sizes)

    def training_loss(self, batch: MultiTaskBatch) -> Tensor:
        """Return the weighted sum of the losses of those kinds that the batch has labels of."""
        loss: Tensor = self.model.weighting(self.model.losses(self._ask(batch), batch["labels"]))
        return loss

    def _ask(self, batch: MultiTaskBatch) -> dict[LabelKind, Any]:
        said: dict[LabelKind, Any] = self.model(batch["image"], batch["rows"])
        return said

    def _evaluation(self, kind: LabelKind) -> Evaluation:
        evaluation = self.evaluations[kind]
        assert isinstance(evaluation, Evaluation)
        return evaluation

    def reset_evaluation(self) -> None:
        """Forget the last evaluation."""
        for kind in self.model.kinds:
            self._evaluation(kind).reset()

    def evaluate(self, batch: MultiTaskBatch) -> None:
        """Count the pictures of a batch, in each kind those that have it."""
        said, labels = self._ask(batch), batch["labels"]
        losses = self.model.losses(said, labels)
        for kind, answer in said.items():
            if kind == "detection":
                answer = self._detections(answer, labels["detection"]["size"])
            self._evaluation(kind).update(answer, labels[kind], losses[kind])

    def scores(self) -> Mapping[str, float]:
        """Return the scores of what was counted."""
        counted = [kind for kind in self.model.kinds if self._was_counted(kind)]
        self._last_scores = {kind: dict(self._evaluation(kind).scores()) for kind in counted}
        losses = {kind: torch.tensor(self._last_scores[kind]["loss"], device=self.device) for kind in counted}
        result = {"score": self._mean_score(), "loss": self.model.weighting(losses).item()}
        weights = self.model.weighting.weights() if isinstance(self.model.weighting, UncertaintyWeights) else {}
        for kind in counted:
            result |= {f"{kind}/{name}": value for name, value in self._last_scores[kind].items()}
        return result | {f"{kind}/weight": weight for kind, weight in weights.items()}

    def _was_counted(self, kind: LabelKind) -> bool:
        """Say whether any process saw a label of this kind: all must ask for its scores, or none."""
        here = self._evaluation(kind).loss.update_called
        return here if self._trainer is None else self.trainer.strategy.reduce_boolean_decision(here, all=False)

    def _mean_score(self) -> float:
        main = [scores[_MAIN_SCORES[kind]] for kind, scores in self._last_scores.items()]
        return torch.tensor(main).nanmean().item()

    def tables(self) -> dict[str, list[list[Any]]]:
        """Return the confusion matrix of the classification, if there is one."""
        if "classification" not in self._last_scores:
            return {}
        evaluation = self._evaluation("classification")
        assert isinstance(evaluation, ClassificationEvaluation)
        return evaluation.tables()

    def report(self) -> str:
        """Return a table of the kinds, with their main scores, losses and weights, and then the table of each kind."""
        if not self._last_scores:
            return "nothing was evaluated yet"
        weights = self.model.weighting.weights()
        width = max(map(len, self._last_scores))
        lines = [f"{'labels':{width}}   score  of           loss  weight"]
        for kind, scores in self._last_scores.items():
            score, loss, weight = scores[_MAIN_SCORES[kind]], scores["loss"], weights[kind]
            lines.append(f"{kind:{width}}  {cell(score)}  {_MAIN_SCORES[kind]:8}  {cell(loss)}  {cell(weight)}")
        lines.append(f"{'mean':{width}}  {cell(self._mean_score())}")
        for kind in self._last_scores:
            lines += ["", kind, self._evaluation(kind).report()]
        return "\n".join(lines)

    def description(self) -> dict[str, Any]:
        """Return plain data that tells a reader of the checkpoint how to use the model."""
        names = {kind: [*names] for kind, names in self.class_names_by_kind.items()}
        return super().description() | {"class_names_by_kind": names}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take note of the checkpoint; refuse one of another task or of other classes.

        Raises:
            ValueError: It is one.
        """
        super().on_load_checkpoint(checkpoint)
        said, known = checkpoint.get("resvision"), self.description()["class_names_by_kind"]
        if said is not None and (saved := said["class_names_by_kind"]) != known:
            theirs, ours = "; ".join(_listed(saved)), "; ".join(_listed(known))
            raise ValueError(f"the checkpoint knows the classes {theirs}, and this task {ours}")


def _check_names(class_names: Mapping[LabelKind, list[str]]) -> None:
    kinds = get_args(LabelKind)
    if not class_names:
        raise ValueError(f"class_names must be given for a kind of label at least, of {', '.join(kinds)}")
    for kind, names in class_names.items():
        if kind not in kinds:
            raise ValueError(f"there are no labels for {kind!r}; there are {', '.join(kinds)}")
        repeated = sorted(name for name, count in Counter(names).items() if count > 1)
        if repeated:
            raise ValueError(f"class names must differ, and {kind} has {', '.join(map(repr, repeated))} more than once")
        least = 1 if kind == "detection" else 2
        if len(names) < least:
            raise ValueError(f"{kind} tells {least} or more classes apart, got {len(names)}")


def _weighting(
    weights: Mapping[LabelKind, float] | Literal["uncertainty"] | None, kinds: Mapping[LabelKind, list[str]]
) -> TaskWeighting:
    if weights == "uncertainty":
        return UncertaintyWeights(kinds)
    if isinstance(weights, str):
        raise ValueError(f"task_weights are numbers by the kinds of labels, or 'uncertainty', got {weights!r}")
    given = {} if weights is None else weights
    unknown = [kind for kind in given if kind not in kinds]
    if unknown:
        raise ValueError(f"task_weights name {unknown[0]!r}, and the labels are for {', '.join(kinds)}")
    return FixedWeights({kind: given.get(kind, 1.0) for kind in kinds})


def _listed(class_names: Mapping[LabelKind, Sequence[str]]) -> list[str]:
    return [f"{kind}: {', '.join(names)}" for kind, names in sorted(class_names.items())]
