"""Pictures of what the model says beside the truth."""

from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from resvision.drawing import displayable, overlay, panel
from resvision.tasks import LabelTask, VisionTask

__all__ = ["Pictures"]


@final
class Pictures(Callback):
    """Writes the first pictures of an evaluation with their truth and the prediction.

    It needs batches with `image` and `mask`, which are set side by side, and a `VisionTask` that maps images to logits;
    or batches with `image` and `label`, which stand above the picture, and a `LabelTask`. It draws nothing of others.

    Args:
        folder: Folder for the files `<split>_<number>.png`; it is made when the first one is written.
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


def _masks(pixels: NDArray[Any], truth: Tensor, found: Tensor, class_names: list[str]) -> Image.Image:
    masks = {"truth": truth, "prediction": found.argmax(dim=0)}
    overlays = [
        (title, overlay(pixels, mask.cpu().numpy().astype(np.uint8), len(class_names))) for title, mask in masks.items()
    ]
    return panel([("picture", displayable(pixels)), *overlays], class_names)


def _labels(pixels: NDArray[Any], truth: Tensor, found: Tensor, class_names: list[str]) -> Image.Image:
    probability, prediction = found.max(dim=0)
    shown = [int(truth)] if truth.ndim == 0 else torch.nonzero(truth).flatten().tolist()
    names = " and ".join(class_names[label] for label in shown) or "nothing"
    title = f"{names}, said {class_names[int(prediction)]} ({probability.item():.0%})"
    return panel([(title, displayable(pixels))], [])
