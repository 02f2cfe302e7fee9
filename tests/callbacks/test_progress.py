from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from resvision.callbacks import Progress


def test_progress__leaves_the_version_of_the_logger_out(tmp_path: Path) -> None:
    model = BoringModel()
    trainer = Trainer(accelerator="cpu", logger=CSVLogger(tmp_path), enable_progress_bar=False)
    trainer.progress_bar_metrics["train/loss"] = 0.5
    assert TQDMProgressBar().get_metrics(trainer, model) == {"train/loss": 0.5, "v_num": 0}
    assert Progress().get_metrics(trainer, model) == {"train/loss": 0.5}


class Logging(BoringModel):
    """Logs the number of the step."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        step = self.global_step + 1
        if step % 4 == 0:
            self.log("train/step", torch.tensor(float(step)), prog_bar=True)
        return super().training_step(batch, batch_idx)


@pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers")
def test_progress__reads_values_when_they_are_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, float | None]] = []
    get_metrics = TQDMProgressBar.get_metrics

    def watched(bar: TQDMProgressBar, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics: dict[str, Any] = get_metrics(bar, trainer, pl_module)
        value = metrics.get("train/step")
        assert not isinstance(value, Tensor)
        seen.append((trainer.global_step, value))
        return metrics

    monkeypatch.setattr(TQDMProgressBar, "get_metrics", watched)
    bar = Progress()
    trainer = Trainer(
        accelerator="cpu",
        logger=CSVLogger(tmp_path),
        callbacks=[bar],
        max_epochs=1,
        limit_train_batches=11,
        limit_val_batches=2,
        num_sanity_val_steps=0,
        log_every_n_steps=4,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(Logging())
    # Two steps with values, a validation and the end of the epoch.
    assert seen == [(4, 4), (8, 8), (11, 8), (11, 8)]
    assert bar.get_metrics(trainer, trainer.lightning_module)["train/step"] == 8
