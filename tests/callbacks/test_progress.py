from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import CSVLogger

from resvision.callbacks import Progress


def test_progress__leaves_the_version_of_the_logger_out(tmp_path: Path) -> None:
    model = BoringModel()
    trainer = Trainer(accelerator="cpu", logger=CSVLogger(tmp_path), enable_progress_bar=False)
    trainer.progress_bar_metrics["train/loss"] = 0.5
    assert TQDMProgressBar().get_metrics(trainer, model) == {"train/loss": 0.5, "v_num": 0}
    assert Progress().get_metrics(trainer, model) == {"train/loss": 0.5}
