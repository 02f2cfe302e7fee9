"""Pictures of what the model says beside the truth."""

from pathlib import Path
from typing import Any, final

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor

from resvision.drawing import displayable, overlay, panel
from resvision.tasks import VisionTask

__all__ = ["Pictures"]


@final
class Pictures(Callback):
    """Writes the first pictures of an evaluation with their truth and the prediction, side by side.

    It needs batches with `image` and `mask`, and a `VisionTask` that maps images to logits.

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
        images, masks = (batch[key][: self.count - self._done] for key in ("image", "mask"))
        if not len(images):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        assert isinstance(pl_module, VisionTask)
        class_names = list(pl_module.class_names)
        predictions = pl_module(images).argmax(dim=1)
        for image, mask, prediction in zip(images, masks, predictions, strict=True):
            picture = _panel(image, mask, prediction, class_names)
            picture.save(self.folder / f"{split}_{self._done:02d}.png")
            self._done += 1

    on_test_batch_end = on_validation_batch_end


def _panel(image: Tensor, truth: Tensor, prediction: Tensor, class_names: list[str]) -> Image.Image:
    pixels = image.permute(1, 2, 0).cpu().numpy()
    masks = {"truth": truth, "prediction": prediction}
    overlays = [
        (title, overlay(pixels, mask.cpu().numpy().astype(np.uint8), len(class_names))) for title, mask in masks.items()
    ]
    return panel([("picture", displayable(pixels)), *overlays], class_names)
