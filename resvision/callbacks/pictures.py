"""Pictures of what the model says beside the truth."""

from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from resvision.batch import MultiTaskBatch
from resvision.drawing import displayable, draw_boxes, overlay, panel
from resvision.models import Detection
from resvision.tasks import DetectionTask, LabelTask, MultiTask, VisionTask
from resvision.tasks.box_scores import LEAST_SCORE

__all__ = ["Pictures"]

#: Pixels to which small pictures with boxes are enlarged.
_HEIGHT: Final = 320


@final
class Pictures(Callback):
    """Writes the first pictures of an evaluation with their truth and the prediction.

    It needs batches with `image` and `mask`, which are set side by side, and a `VisionTask` that maps images to logits;
    or batches with `image` and `label`, which stand above the picture, and a `LabelTask`; or those of a
    `DetectionTask`, true boxes beside those that were found. For a `MultiTask` it draws each kind of label that a
    picture has. It draws nothing of others.

    Args:
        folder: Folder for the files `<split>_<number>.png`, or `<split>_<number>_<kind>.png` of a `MultiTask`; it is
            made when the first one is written.
        count: Pictures a split, at most.
    """

    def __init__(self, folder: Path | str, count: int = 8) -> None:
        self.folder = Path(folder)
        self.count = count
        self._done = 0

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with the first picture again."""
        self._done = 0

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the pictures of this batch that are still wanted."""
        # While training goes on the pictures would be drawn and overwritten every epoch.
        if trainer.state.fn == "fit" or not trainer.is_global_zero:
            return
        split = "test" if trainer.testing else "val"
        if isinstance(pl_module, DetectionTask):
            self._draw_boxes(pl_module, batch, split)
            return
        if isinstance(pl_module, MultiTask):
            self._draw_kinds(pl_module, batch, split)
            return
        truth = "mask" if "mask" in batch else "label"
        if truth == "label" and not isinstance(pl_module, LabelTask):
            return
        images, truths = (batch[key][: self.count - self._done] for key in ("image", truth))
        if not len(images):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        assert isinstance(pl_module, VisionTask)
        class_names = list(pl_module.class_names)
        draw = _masks if truth == "mask" else _labels
        found = pl_module.probabilities(images) if isinstance(pl_module, LabelTask) else pl_module(images)
        for image, true, said in zip(images, truths, found, strict=True):
            pixels = image.permute(1, 2, 0).cpu().numpy()
            draw(pixels, true, said, class_names).save(self.folder / f"{split}_{self._done:02d}.png")
            self._done += 1

    on_test_batch_end = on_validation_batch_end

    def _draw_boxes(self, task: DetectionTask, batch: Any, split: str) -> None:
        count = min(self.count - self._done, len(batch["boxes"]))
        if count < 1:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        sizes = batch["size"][:count]
        for number, found in enumerate(task(batch["image"][:count], sizes)):
            height, width = sizes[number].tolist()
            pixels = batch["image"][number, :, :height, :width].permute(1, 2, 0).cpu().numpy()
            truth = {"boxes": batch["boxes"][number], "labels": batch["labels"][number]}
            picture = _boxes(pixels, truth, found, list(task.class_names))
            picture.save(self.folder / f"{split}_{self._done:02d}.png")
            self._done += 1

    def _draw_kinds(self, task: MultiTask, batch: MultiTaskBatch, split: str) -> None:
        images = batch["image"][: self.count - self._done]
        if not len(images):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        found, labels = task(images), batch["labels"]
        for kind, rows in batch["rows"].items():
            names = list(task.class_names_by_kind[kind])
            for place, row in enumerate(rows.tolist()):
                if row >= len(images):
                    break
                pixels = images[row].permute(1, 2, 0).cpu().numpy()
                if kind == "classification":
                    probabilities = found["classification"][row].float().softmax(dim=0)
                    picture = _labels(pixels, labels["classification"]["label"][place], probabilities, names)
                elif kind == "segmentation":
                    picture = _masks(pixels, labels["segmentation"]["mask"][place], found["segmentation"][row], names)
                else:
                    boxes = labels["detection"]
                    truth = {"boxes": boxes["boxes"][place], "labels": boxes["labels"][place]}
                    picture = _boxes(pixels, truth, found["detection"][row], names)
                picture.save(self.folder / f"{split}_{self._done + row:02d}_{kind}.png")
        self._done += len(images)


def _masks(pixels: NDArray[Any], truth: Tensor, found: Tensor, class_names: list[str]) -> Image.Image:
    masks = {"truth": truth, "prediction": found.argmax(dim=0)}
    overlays = [
        (title, overlay(pixels, mask.cpu().numpy().astype(np.uint8), len(class_names))) for title, mask in masks.items()
    ]
    return panel([("picture", displayable(pixels)), *overlays], class_names)


def _boxes(pixels: NDArray[Any], truth: dict[str, Tensor], found: Detection, class_names: list[str]) -> Image.Image:
    sure = found["scores"] >= LEAST_SCORE
    texts = [f"{score:.2f}" for score in found["scores"][sure].tolist()]
    shown = [(truth["boxes"], truth["labels"], None), (found["boxes"][sure], found["labels"][sure], texts)]
    drawn = [
        draw_boxes(pixels, boxes.float().cpu().numpy(), labels.cpu().numpy(), len(class_names), words, height=_HEIGHT)
        for boxes, labels, words in shown
    ]
    return panel([("truth", drawn[0]), (f"found, score at least {LEAST_SCORE}", drawn[1])], class_names)


def _labels(pixels: NDArray[Any], truth: Tensor, found: Tensor, class_names: list[str]) -> Image.Image:
    probability, prediction = found.max(dim=0)
    shown = [int(truth)] if truth.ndim == 0 else torch.nonzero(truth).flatten().tolist()
    names = " and ".join(class_names[label] for label in shown) or "nothing"
    title = f"{names}, said {class_names[int(prediction)]} ({probability.item():.0%})"
    return panel([(title, displayable(pixels))], [])
