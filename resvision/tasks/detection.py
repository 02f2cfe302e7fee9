"""Objects in boxes."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, cast, final, get_args

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from resvision.batch import DetectionBatch
from resvision.layers import check_choice
from resvision.models import Detection, Detector, TorchvisionDetector, targets_of
from resvision.models.detector import Assignment, Quality
from resvision.models.torchvision_detector import TorchvisionKind
from resvision.tasks.base import VisionTask
from resvision.tasks.detection_evaluation import DetectionEvaluation
from resvision.tasks.finetuning import FineTune
from resvision.tasks.networks import build_encoder, in_channels_last
from resvision.tasks.schedules import WarmupCosine

__all__ = ["DetectionTask"]


@final
class DetectionTask(VisionTask):
    """Train and score a detector.

    Logs, under `val/` and `test/`: `loss`, but of torchvision's models, which tell none in evaluation; average
    precision as COCO counts it, in pixels of the original pictures: `map`, `map_50`, `map_75`, `map_small`,
    `map_medium`, `map_large`; `recall`; and with up to 30 classes `ap/<class>`. What the split has no objects for is
    `nan`.

    Args:
        class_names: One name per class, in the order of their numbers; there is none for the background.
        model: `detector` is resvision's own; the others are torchvision's, to compare with. They know no other size
            than their own: `strides`, `channels`, `assignment`, `quality` and `nms_threshold` are of `detector` alone.
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
        strides: Strides of the pyramid's levels, fine to coarse; by default 8, 16, 32, 64, 128.
        channels: Channels of the pyramid and of the head; fewer are faster.
        assignment: How places are given objects to find while training: `atss`, or `fcos`.
        quality: What tells how good a box is: `centerness`, or `iou`, which quality focal loss puts into the score.
        nms_threshold: Of boxes of one class that overlap by more, 0 to 1, the surest stays; with 1 all stay.
        max_detections: Most objects that are found in a picture; average precision counts as many.
        optimizer: Builds the optimiser from parameter groups.
        scheduler: Builds the schedule from the optimiser; None keeps the learning rate.

    Raises:
        ValueError: No class, a repeated class name, an unknown backbone, option, stride or set of weights, or a number
            out of range.
    """

    labels: ClassVar[str | None] = "boxes"
    monitor: ClassVar[str] = "val/map"
    mode: ClassVar[Literal["min", "max"]] = "max"

    model: Detector | TorchvisionDetector

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        model: Literal["detector"] | TorchvisionKind = "detector",
        backbone: str = "resnet18",
        weights: str | None = None,
        backbone_options: dict[str, Any] | None = None,
        in_channels: int = 3,
        input_size: int | tuple[int, int] | None = None,
        finetune: FineTune = None,
        strides: list[int] | None = None,
        channels: int = 256,
        assignment: Assignment = "atss",
        quality: Quality = "centerness",
        nms_threshold: float = 0.6,
        max_detections: int = 100,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, fused=True),
        scheduler: LRSchedulerCallable | None = WarmupCosine,
    ) -> None:
        super().__init__(class_names, optimizer=optimizer, scheduler=scheduler, finetune=finetune)
        self.save_hyperparameters(ignore=["optimizer", "scheduler"], logger=False)
        check_choice("model", model, ("detector", *get_args(TorchvisionKind)))
        if not class_names:
            raise ValueError("detection needs at least one class of objects")
        if max_detections < 1:
            raise ValueError(f"max_detections is a number of objects, at least 1, got {max_detections}")
        encoder = build_encoder(backbone, weights=weights, in_channels=in_channels, options=backbone_options)
        self.input_size = input_size
        self.max_detections = max_detections
        network: Detector | TorchvisionDetector
        if model == "detector":
            network = Detector(
                encoder,
                len(class_names),
                strides=strides or (8, 16, 32, 64, 128),
                channels=channels,
                assignment=assignment,
                quality=quality,
                nms_threshold=nms_threshold,
                max_detections=max_detections,
            )
        else:
            network = TorchvisionDetector(encoder, len(class_names), model, max_detections=max_detections)
        self.model = in_channels_last(network)
        self.logs_validation_loss = model == "detector"  # torchvision's tell no losses in evaluation
        self.evaluation = DetectionEvaluation(
            class_names, max_detections=max_detections, has_loss=self.logs_validation_loss
        )

    def forward(self, images: Tensor, sizes: Tensor | None = None) -> list[Detection]:
        """Map pixels (N, C, H, W), uint8, uint16 or floating in 0..1, to what is found, in pixels of `images`.

        Args:
            images: The pictures.
            sizes: (N, 2), height and width of their content, where the rest is padding.
        """
        found: list[Detection] = self.model(images, sizes=sizes)
        return found

    def predict_step(self, batch: Any, batch_idx: int) -> list[Detection]:
        """Return what is found in pictures (N, C, H, W), or in `batch["image"]` with the content `batch["size"]`."""
        if isinstance(batch, Mapping):
            return self.forward(batch["image"], batch.get("size"))
        return self.forward(batch)

    def training_loss(self, batch: DetectionBatch) -> Tensor:
        """Return the sum of the losses."""
        return torch.stack([*self.model(batch["image"], targets_of(batch)).values()]).sum()

    def reset_evaluation(self) -> None:
        """Forget the last evaluation."""
        self.evaluation.reset()

    def evaluate(self, batch: DetectionBatch) -> None:
        """Count the pictures of a batch, in pixels of the original ones."""
        if self.logs_validation_loss:
            model = cast(Detector, self.model)  # or what `torch.compile` has made of one
            said = model.say(batch["image"])
            losses = torch.stack([*model.losses(said, targets_of(batch)).values()]).sum()
            self.evaluation.update(model.detections(said, batch["size"]), batch, losses)
        else:
            self.evaluation.update(self(batch["image"], batch["size"]), batch, None)

    def scores(self) -> Mapping[str, float]:
        """Return the scores of what was counted."""
        return self.evaluation.scores()

    def report(self) -> str:
        """Return a table of the last evaluation, class by class, by size, and the confusions that are most frequent.

        Of more than 30 classes it shows those with the lowest AP.
        """
        return self.evaluation.report()
