"""Which warnings of libraries are left out."""

import warnings
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.model_summary.model_summary import ModelSummary

from resvision.cli.quiet import quieten


def test_quieten__leaves_out_that_mixed_precision_has_32_bits(tmp_path: Path) -> None:
    module = LightningModule()
    module.layer = torch.nn.Linear(2, 3)
    trainer = Trainer(accelerator="cpu", precision="bf16-mixed", logger=False, default_root_dir=tmp_path)
    trainer.strategy.connect(module)
    module.trainer = trainer
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ModelSummary(module)
        assert len(told) == 1
        quieten()
        summary = ModelSummary(module)
        assert len(told) == 1
    assert summary.model_size == 9 * 4 / 1e6
