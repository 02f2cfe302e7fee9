"""A run whose loss or weights are not finite stops, and keeps what is needed to look into it."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from resvision.callbacks import BatchAugmentation, FiniteLoss, NonFiniteLossError
from resvision.data import Shapes
from resvision.tasks import ClassificationTask
from tests.tasks.trainers import quiet_trainer

EPOCH = 6  # batches of 2


class Spoil(Callback):
    """Makes a weight infinite before, or after, a training batch of the run, counted from 1; keeps the batches."""

    def __init__(self, number: int, *, after: bool = False) -> None:
        self.number = number
        self.after = after
        self.seen: list[dict[str, Any]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.seen.append(dict(batch))
        if not self.after:
            self._spoil(pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.after:
            self._spoil(pl_module)

    def _spoil(self, pl_module: LightningModule) -> None:
        if len(self.seen) == self.number:
            next(pl_module.parameters()).data[0] = torch.inf


def _fit(folder: Path, spoil: Spoil, every: int = 4, more: Callback | None = None, **settings: Any) -> str:
    """Return what the run says when it stops."""
    data = Shapes(
        32, task="classification", train_size=2 * EPOCH, val_size=2, test_size=1, batch_size=2, num_workers=0, seed=3
    )
    task = ClassificationTask(list(data.class_names), backbone="toy")
    mixing = BatchAugmentation(mixup=0.4)
    last = ModelCheckpoint(folder / "saved", "last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        callbacks=[*([more] if more else []), mixing, spoil, FiniteLoss(folder / "nonfinite", every), last],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **settings,
    )
    with pytest.raises(NonFiniteLossError) as caught:
        trainer.fit(task, datamodule=data)
    return str(caught.value)


@pytest.mark.parametrize("number", [1, EPOCH, EPOCH + 3])
def test_loss__stops_the_run_within_k_steps_and_names_the_batch(number: int, tmp_path: Path) -> None:
    spoil = Spoil(number)
    said = _fit(tmp_path, spoil)
    assert len(spoil.seen) <= number + 4
    epoch, batch = divmod(number - 1, EPOCH)
    seen = spoil.seen[number - 1]
    report = json.loads((tmp_path / "nonfinite" / "report.json").read_text())
    assert report["pictures"] == seen["index"].tolist()
    assert said.startswith(f"the loss is nan at step {number} (epoch {epoch}, batch {batch}), in the pictures ")
    for name in report["files"]:
        assert name in said
    # The mixed pictures, as the model saw them.
    kept = torch.load(tmp_path / "nonfinite" / "batch.pt", weights_only=True)
    assert kept.keys() == seen.keys()
    for key, value in seen.items():
        assert torch.equal(kept[key], value), key


@pytest.mark.parametrize("after", [False, True])
def test_checkpoint__of_the_last_finite_epoch_is_kept(after: bool, tmp_path: Path) -> None:
    said = _fit(tmp_path, Spoil(2 * EPOCH, after=after), every=100)
    assert said.startswith("the weights are not finite after" if after else "the loss is nan at")
    saved = torch.load(tmp_path / "saved" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == EPOCH
    assert all(value.isfinite().all() for value in saved["state_dict"].values())


def test_loss__is_read_once_in_k_steps(tmp_path: Path) -> None:
    looks = FiniteLoss(tmp_path, every=5)
    reads = 0

    class OneProcess:
        world_size, global_step, current_epoch = 1, 0, 0
        fit_loop = type("Loop", (), {"epoch_loop": type("Loop", (), {"total_batch_idx": 0})})

    class Counted(torch.Tensor):
        """Counts how often somebody waits for it."""

        def __bool__(self) -> bool:
            nonlocal reads
            reads += 1
            return False

    for _ in range(20):
        loss = torch.zeros(()).as_subclass(Counted)
        looks.on_train_batch_end(OneProcess(), None, {"loss": loss}, {}, 0)  # type: ignore[arg-type]
    assert 3 <= reads <= 4


@pytest.mark.parametrize(
    "saves", [{"every_n_train_steps": 3}, {"train_time_interval": timedelta(0)}, {"monitor": "val/loss"}]
)
@pytest.mark.parametrize("after", [False, True])
def test_checkpoint__of_weights_alone_is_looked_at_too(after: bool, saves: dict[str, Any], tmp_path: Path) -> None:
    alone = ModelCheckpoint(tmp_path / "alone", "{step}", save_weights_only=True, save_top_k=-1, **saves)
    _fit(tmp_path, Spoil(2 * EPOCH, after=after), every=100, more=alone)
    kept = [torch.load(path, weights_only=True)["state_dict"] for path in (tmp_path / "alone").iterdir()]
    assert kept
    assert all(value.isfinite().all() for state in kept for value in state.values())


@pytest.mark.filterwarnings("ignore:You requested to overfit")
def test_report__of_overfit_batches_has_the_pictures_that_were_trained_on(tmp_path: Path) -> None:
    spoil = Spoil(EPOCH + 2)
    _fit(tmp_path, spoil, overfit_batches=EPOCH)
    seen = spoil.seen[EPOCH + 1]
    assert seen["index"].tolist() == [2, 3]
    assert json.loads((tmp_path / "nonfinite" / "report.json").read_text())["pictures"] == [2, 3]
    kept = torch.load(tmp_path / "nonfinite" / "batch.pt", weights_only=True)
    assert torch.equal(kept["image"], seen["image"])


def test_loss__of_an_earlier_run_stops_no_other(tmp_path: Path) -> None:
    looks = FiniteLoss(tmp_path / "nonfinite")
    data = Shapes(32, task="classification", train_size=4, val_size=2, test_size=1, batch_size=2, num_workers=0)
    trainers = [quiet_trainer(tmp_path, callbacks=[looks, *more]) for more in ([Spoil(1)], [])]
    with pytest.raises(NonFiniteLossError):
        trainers[0].fit(ClassificationTask(list(data.class_names), backbone="toy"), datamodule=data)
    trainers[1].fit(ClassificationTask(list(data.class_names), backbone="toy"), datamodule=data)
