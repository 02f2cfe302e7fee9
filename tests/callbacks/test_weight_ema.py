"""The average against a hand computation, and a run that stops and goes on."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.optim import SGD

from resvision.callbacks import WeightEMA
from resvision.data import Shapes
from resvision.tasks import ClassificationTask
from tests.tasks.test_classification import NAMES, _loader
from tests.tasks.trainers import quiet_trainer


class Weights(Callback):
    """Keeps the weights after each step, and those that are validated."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []
        self.validated: list[Tensor] = []

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.steps.append(_head(pl_module.state_dict()))

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.steps.append(_head(pl_module.state_dict()))

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if batch_idx == 0 and not trainer.sanity_checking:
            self.validated.append(_head(pl_module.state_dict()))


def _head(state: dict[str, Tensor]) -> Tensor:
    """Return weights that are trained, and statistics of a batch norm, which no optimiser changes."""
    (statistics,) = (value for name, value in state.items() if name.endswith("stem.bn.running_mean"))
    return torch.cat([state["model.head.fc.weight"].flatten(), statistics])


def _fit(folder: Path, *, resume: Path | None = None, decay: float = 0.4, **settings: Any) -> tuple[Weights, Trainer]:
    torch.manual_seed(0 if resume is None else 9)
    task = ClassificationTask(NAMES, backbone="toy", optimizer=partial(SGD, lr=0.5), scheduler=None)
    weights = Weights()
    save = ModelCheckpoint(folder / "saved", "{step}", every_n_train_steps=1, save_top_k=-1)
    best = ModelCheckpoint(folder / "saved", "best", monitor="val/accuracy", mode="max")
    callbacks = [WeightEMA(decay), weights, save, best]
    trainer = quiet_trainer(folder, callbacks=callbacks, enable_checkpointing=True, **({"max_epochs": 2} | settings))
    trainer.fit(task, _loader(12, 3), _loader(12, 3), ckpt_path=resume, weights_only=True)
    return weights, trainer


def _averages(steps: list[Tensor], decay: float = 0.4) -> list[Tensor]:
    found = [steps[0]]
    for count, weight in enumerate(steps[1:]):
        kept = min(decay, (1 + count) / (10 + count))
        found.append(kept * found[-1] + (1 - kept) * weight)
    return found


def test_average__is_what_is_validated_and_kept(tmp_path: Path) -> None:
    weights, trainer = _fit(tmp_path)
    averages = _averages(weights.steps)  # of 3 steps in each of 2 epochs
    for seen, step in zip(weights.validated, (3, 6), strict=True):
        torch.testing.assert_close(seen, averages[step])
        assert not torch.equal(seen, weights.steps[step])
    torch.testing.assert_close(_head(trainer.lightning_module.state_dict()), averages[6])
    saved = torch.load(tmp_path / "saved" / "step=4.ckpt", weights_only=True)
    torch.testing.assert_close(_head(saved["state_dict"]), averages[4])
    assert torch.equal(_head(saved["current_state_dict"]), weights.steps[4])


def test_best_checkpoint__scores_what_was_logged(tmp_path: Path) -> None:
    _, trainer = _fit(tmp_path)
    best = trainer.checkpoint_callbacks[1]
    assert isinstance(best, ModelCheckpoint)
    assert best.best_model_score is not None
    task = ClassificationTask.load_from_checkpoint(best.best_model_path)
    (scores,) = quiet_trainer(tmp_path).validate(task, _loader(12, 3), verbose=False)
    assert scores["val/accuracy"] == pytest.approx(best.best_model_score.item())
    temperature = torch.load(best.best_model_path, weights_only=True)["state_dict"]["temperature"]
    assert temperature.item() != 1.0  # found for the average, and kept with it


def test_temperature__stays_what_the_last_validation_found(tmp_path: Path) -> None:
    _fit(tmp_path, check_val_every_n_epoch=2, max_epochs=3)
    found, later = (torch.load(tmp_path / "saved" / f"step={step}.ckpt", weights_only=True) for step in (7, 9))
    for state in ("state_dict", "current_state_dict"):
        assert found[state]["temperature"].item() != 1.0
        assert torch.equal(later[state]["temperature"], found[state]["temperature"])


def test_run__that_stops_goes_on_with_weights_and_average(tmp_path: Path) -> None:
    whole, trainer = _fit(tmp_path / "whole")
    # After an epoch of 3 steps: from there Lightning by itself goes on with the same batches.
    resumed, again = _fit(tmp_path / "resumed", resume=tmp_path / "whole" / "saved" / "step=3.ckpt")
    for seen, expected in zip(resumed.steps, whole.steps[3:], strict=True):
        assert torch.equal(seen, expected)
    for key, value in trainer.lightning_module.state_dict().items():
        assert torch.equal(value, again.lightning_module.state_dict()[key])


def test_average__of_accumulated_gradients_counts_steps(tmp_path: Path) -> None:
    weights, trainer = _fit(tmp_path, accumulate_grad_batches=3)
    steps = [weights.steps[0], weights.steps[3], weights.steps[6]]
    torch.testing.assert_close(_head(trainer.lightning_module.state_dict()), _averages(steps)[2])


def test_average__is_not_there_outside_of_training(tmp_path: Path) -> None:
    task = ClassificationTask(NAMES, backbone="toy")
    before = _head(task.state_dict())
    quiet_trainer(tmp_path, callbacks=[WeightEMA()]).validate(task, _loader(), verbose=False)
    assert torch.equal(_head(task.state_dict()), before)


def test_average__refuses_a_decay_of_1() -> None:
    with pytest.raises(ValueError, match="decay must be from 0 to below 1, got 1"):
        WeightEMA(1.0)


def test_ema__keeps_the_average_under_every_name_of_a_part(tmp_path: Path) -> None:
    data = Shapes(32, task="classification", train_size=4, val_size=2, test_size=1, batch_size=2)
    data.setup("fit")
    task = ClassificationTask(list(data.class_names), backbone="toy")
    task.encoder = task.model.backbone
    trainer = quiet_trainer(tmp_path, callbacks=[WeightEMA(0.9)])
    trainer.fit(task, datamodule=data)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    content = torch.load(tmp_path / "end.ckpt", weights_only=True)
    for state in (content["state_dict"], content["current_state_dict"]):
        twice = [name for name in state if name.startswith("encoder.")]
        assert twice
        assert all(torch.equal(state[name], state[f"model.backbone.{name.removeprefix('encoder.')}"]) for name in twice)
    name = next(name for name in content["state_dict"] if name.startswith("encoder.") and "weight" in name)
    assert not torch.equal(content["state_dict"][name], content["current_state_dict"][name])


def test_average__of_a_second_run_begins_with_its_own_weights(tmp_path: Path) -> None:
    ema = WeightEMA(0.4)
    for seed in (0, 1):
        torch.manual_seed(seed)
        task = ClassificationTask(NAMES, backbone="toy", optimizer=partial(SGD, lr=0.5), scheduler=None)
        weights = Weights()
        quiet_trainer(tmp_path, callbacks=[ema, weights]).fit(task, _loader(12, 3), _loader())
        torch.testing.assert_close(_head(task.state_dict()), _averages(weights.steps)[-1])
    assert ema.state_dict() == {"updates": 3}


def test_average__refuses_checkpoints_of_weights_alone(tmp_path: Path) -> None:
    task = ClassificationTask(NAMES, backbone="toy")
    alone = ModelCheckpoint(tmp_path, save_weights_only=True)
    trainer = quiet_trainer(tmp_path, callbacks=[WeightEMA(), alone], enable_checkpointing=True)
    with pytest.raises(ValueError, match="WeightEMA has not averaged; set save_weights_only to false"):
        trainer.fit(task, _loader(), _loader())
    trainer.validate(task, _loader(), verbose=False)
