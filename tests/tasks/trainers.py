"""A trainer that writes nothing."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

__all__ = ["quiet_trainer"]


def quiet_trainer(folder: Path, **settings: Any) -> Trainer:
    """Return a trainer of one epoch on the CPU, without logger, checkpoints and bar, but for what is set."""
    defaults: dict[str, Any] = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
        "default_root_dir": folder,
    }
    return Trainer(**(defaults | settings))
