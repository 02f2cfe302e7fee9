"""Pictures of what the model says beside the truth."""

from pathlib import Path
from typing import Any, final

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from resvision.drawing import Pixels, displayable, overlay, panel

__all__ = ["Pictures"]


@final
class Pictures(Callback):
    """Writes the first pictures of an evaluation with their truth and the prediction, side by side.

    It looks at the batch alone: `image` with `mask`, and `prediction` in what the step returns.

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
        wanted = min(self.count - self._done, len(batch["image"]))
        for position in range(wanted):
            self.folder.mkdir(parents=True, exist_ok=True)
            picture = _segmentation_panel(batch, outputs, position, pl_module.class_names)
            picture.save(self.folder / f"{split}_{self._done + position:02d}.png")
        self._done += max(wanted, 0)

    on_test_batch_end = on_validation_batch_end


def _segmentation_panel(
    batch: dict[str, Tensor], outputs: dict[str, Tensor], position: int, names: Any
) -> Any:
    image = batch["image"][position].permute(1, 2, 0).cpu().numpy()
    truth = batch["mask"][position].cpu().numpy().astype(np.uint8)
    prediction = outputs["prediction"][position].cpu().numpy().astype(np.uint8)
    pictures: list[tuple[str, Pixels]] = [
        ("picture", displayable(image)),
        ("truth", overlay(image, truth, len(names))),
        ("prediction", overlay(image, prediction, len(names))),
    ]
    return panel(pictures, list(names))
