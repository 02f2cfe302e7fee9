"""A YAML builds the task through LightningCLI, and its checkpoint needs neither YAML nor weights afterwards."""

import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LightningCLI

from resvision.tasks import SegmentationTask, VisionTask, WarmupCosine
from tests.tasks.test_segmentation import _loader

YAML = """
seed_everything: 0
trainer: {max_epochs: 1, accelerator: cpu, logger: false, enable_progress_bar: false, enable_model_summary: false,
  enable_checkpointing: false, log_every_n_steps: 1}
model:
  class_path: SegmentationTask
  init_args:
    class_names: [sky, road, car]
    backbone: toy
    decoder_stride: 2
    decoder_widths: [8]
    losses: {cross_entropy: 1.0, dice: 0.5}
    optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 0.002}}
    scheduler: {class_path: WarmupCosine, init_args: {warmup: 0.1}}
"""


@pytest.fixture(autouse=True)
def _no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """LightningCLI warns when the process has arguments of its own."""
    monkeypatch.setattr(sys, "argv", ["resvision"])


def _build(folder: Path, *arguments: str) -> LightningCLI:
    config = folder / "config.yaml"
    config.write_text(YAML)
    return LightningCLI(
        VisionTask,
        subclass_mode_model=True,
        auto_configure_optimizers=False,
        run=False,
        save_config_callback=None,
        args=["--config", str(config), *arguments],
    )


def test_task__is_built_from_short_names(tmp_path: Path) -> None:
    cli = _build(tmp_path, "--trainer.default_root_dir", str(tmp_path))
    task = cli.model
    assert isinstance(task, SegmentationTask)
    cli.trainer.fit(task, _loader(), _loader())
    optimizer = cli.trainer.optimizers[0]
    assert isinstance(optimizer, torch.optim.AdamW)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]
    schedule = cli.trainer.lr_scheduler_configs[0].scheduler
    assert isinstance(schedule, WarmupCosine)
    assert schedule.warmup == 0.1
    assert schedule.base_lrs == [0.002, 0.002]
    path = tmp_path / "task.ckpt"
    cli.trainer.save_checkpoint(path)
    torch.load(path, weights_only=True)
    for reader in (SegmentationTask, LightningModule):
        again = reader.load_from_checkpoint(path)
        assert isinstance(again, SegmentationTask)
        assert again.class_names == ("sky", "road", "car")
        assert again.loss.weights == {"cross_entropy": 1.0, "dice": 0.5}


def test_task__takes_a_schedule_by_its_name_alone(tmp_path: Path) -> None:
    cli = _build(tmp_path, "--model.init_args.scheduler=WarmupCosine")
    assert cli.model._builders.scheduler is not None
    schedule = cli.model._builders.scheduler(torch.optim.SGD([torch.zeros(1)], lr=1.0))
    assert isinstance(schedule, WarmupCosine)


def test_task__refuses_a_mistyped_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _build(tmp_path, "--model.init_args.decoder_width=[8]")
    assert "decoder_width" in capsys.readouterr().err
