"""A loss whose steepest fall and divergence are known."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader

from resvision.backbones import create_backbone
from resvision.callbacks import LearningRateRange
from resvision.tasks import ClassificationTask
from tests.tasks.test_classification import NAMES, _loader
from tests.tasks.trainers import quiet_trainer


class Bowl(LightningModule):
    """The square of a weight: a step of less than 1 makes it smaller, of more larger."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.weight.square().sum()

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=1.0)


def _run(module: LightningModule, test: LearningRateRange, folder: Path, loader: Any) -> None:
    quiet_trainer(folder, max_epochs=-1, max_steps=test.steps, callbacks=[test], limit_val_batches=0).fit(
        module, loader
    )


def test_range__rises_finds_the_fall_and_stops_where_the_loss_runs_away(tmp_path: Path) -> None:
    test = LearningRateRange(steps=60, lowest=1e-4, highest=10.0)
    _run(Bowl(), test, tmp_path, DataLoader([0] * 100))  # type: ignore[arg-type]
    assert test.rates[0] == pytest.approx(1e-4)
    assert test.rates[1] / test.rates[0] == pytest.approx((10 / 1e-4) ** (1 / 59))
    assert 1.0 < test.rates[-1] < 10.0
    assert len(test.losses) == len(test.rates) < 60
    assert 0.01 < test.suggestion() < 1.0


def test_range__keeps_the_ratios_of_fine_tuning(tmp_path: Path) -> None:
    weights = tmp_path / "toy.pth"
    torch.save(create_backbone("toy").state_dict(), weights)
    finetune: Any = {"preset": "full", "backbone_lr": 0.1, "stage_lr_decay": 1.0}
    task = ClassificationTask(
        NAMES, backbone="toy", weights=str(weights), finetune=finetune, optimizer=partial(SGD, lr=0.5), scheduler=None
    )
    test = LearningRateRange(steps=10, highest=0.01)
    trainer = quiet_trainer(tmp_path, max_epochs=-1, max_steps=10, callbacks=[test], limit_val_batches=0)
    trainer.fit(task, _loader(12, 3), _loader())
    rates = {group["name"]: group["lr"] for group in trainer.optimizers[0].param_groups}
    assert rates["head"] == pytest.approx(0.01)
    assert rates["stem"] == pytest.approx(0.001)


def test_suggestion__needs_a_fall() -> None:
    test = LearningRateRange(steps=10)
    test.rates, test.losses = [float(n) for n in range(1, 11)], [float(n) for n in range(10)]
    with pytest.raises(ValueError, match="the loss fell at no learning rate"):
        test.suggestion()


def test_range__refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"^steps must be at least 10, got 9$"):
        LearningRateRange(steps=9)
    with pytest.raises(ValueError, match=r"^lowest must be above 0 and highest above lowest, got 1\.0 and 0\.5$"):
        LearningRateRange(lowest=1.0, highest=0.5)


class Line(LightningModule):
    """A loss that says which batch it is of, and a weight that shows the learning rate of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.weights: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.weights.append(self.weight.item())
        return self.weight.sum() - self.weight.detach().sum() + float(100 - batch_idx)

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=1.0)


def test_range__counts_steps_where_gradients_are_accumulated(tmp_path: Path) -> None:
    test, line = LearningRateRange(steps=10, lowest=1e-3, highest=1.0), Line()
    trainer = quiet_trainer(
        tmp_path, max_epochs=-1, max_steps=10, callbacks=[test], limit_val_batches=0, accumulate_grad_batches=3
    )
    trainer.fit(line, DataLoader([0] * 60))  # type: ignore[arg-type]
    assert test.rates == pytest.approx([1e-3 * 1000 ** (step / 9) for step in range(10)])
    assert len(line.weights) == 30
    taken = [before - after for before, after in zip(line.weights[::3], line.weights[3::3], strict=False)]
    assert taken == pytest.approx(test.rates[:-1], rel=1e-3)
    # The first step has batches 0 to 2, the second 3 to 5; the smoothed loss weighs the newer one by 1 / 1.9.
    assert test.losses[:2] == pytest.approx([99.0, (0.9 * 99.0 + 96.0) / 1.9])


def test_range__takes_the_mean_of_the_last_step_of_an_epoch_too(tmp_path: Path) -> None:
    test = LearningRateRange(steps=10, lowest=1e-3, highest=1.0)
    trainer = quiet_trainer(
        tmp_path, max_epochs=-1, max_steps=10, callbacks=[test], limit_val_batches=0, accumulate_grad_batches=3
    )
    trainer.fit(Line(), DataLoader([0] * 4))  # type: ignore[arg-type]
    # Steps of batches 0 to 2 and of batch 3 by itself, in turn.
    assert test.losses[:2] == pytest.approx([99.0, (0.9 * 99.0 + 97.0) / 1.9])
    first = test.losses
    quiet_trainer(tmp_path, max_epochs=-1, max_steps=10, callbacks=[test], limit_val_batches=0).fit(
        Line(),
        DataLoader([0] * 100),  # type: ignore[arg-type]
    )
    assert len(test.losses) == len(first) == 10  # of a second test by itself
