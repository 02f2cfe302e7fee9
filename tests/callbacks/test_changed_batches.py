"""A run that goes on with other batches ends as one that had them from the start."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim import SGD

from resvision.callbacks import ExactResume
from resvision.data import Shapes
from resvision.tasks import SegmentationTask
from resvision.tasks.schedules import WarmupCosine

PICTURES, EPOCHS = 12, 2


class Seen(Callback):
    """Keeps which pictures each batch has and the learning rate it is trained with; and where validations come."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[int], object]] = []  # the rates are compared to within rounding
        self.validations: list[tuple[int, int]] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.batches.append((batch["index"].tolist(), pytest.approx(trainer.optimizers[0].param_groups[0]["lr"])))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self.validations.append((trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_progress.current.ready))


def _run(
    folder: Path,
    batch_size: int,
    resume: Path | None = None,
    *,
    pictures: int = PICTURES,
    scheduler: Any = WarmupCosine,
    exact: ExactResume | None = None,
    **settings: Any,
) -> Seen:
    data = Shapes(32, train_size=pictures, val_size=2, test_size=1, batch_size=batch_size, num_workers=0, seed=3)
    task = SegmentationTask(
        list(data.class_names),
        backbone="toy",
        decoder_stride=2,
        decoder_widths=[8],
        optimizer=partial(SGD, lr=0.1),
        scheduler=scheduler,
    )
    seen = Seen()
    saves = [
        ModelCheckpoint(folder, "step-{step}", every_n_train_steps=1, save_top_k=-1),
        ModelCheckpoint(folder, "epoch-{step}", save_on_train_epoch_end=True, save_top_k=-1),
    ]
    trainer = Trainer(
        **{"max_epochs": EPOCHS} | settings,
        accelerator="cpu",
        callbacks=[seen, *saves, exact or ExactResume(3)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(task, datamodule=data, ckpt_path=resume, weights_only=True)
    return seen


@pytest.mark.parametrize(
    ("before", "place", "after", "done"),
    [
        (2, "step-step=2", 4, 1),  # 4 pictures are one new batch
        (2, "step-step=3", 4, 1),  # 6 are one and a half: the half comes again
        (2, "step-step=1", 6, 0),
        (4, "step-step=1", 2, 2),
        (4, "step-step=2", 3, 2),
        (2, "step-step=6", 4, 2),  # All are done but the validation, which the last batch brings.
        (2, "epoch-step=6", 4, 3),
        (2, "step-step=8", 4, 4),  # in the second epoch
        (4, "step-step=4", 1, 16),
        (5, "step-step=2", 12, 0),  # 10 of the 12; the other 2 are in no batch of 5
    ],
)
def test_batch_size__is_changed(tmp_path: Path, before: int, place: str, after: int, done: int) -> None:
    _run(tmp_path / "before", before)
    resumed = _run(tmp_path / "resumed", after, tmp_path / "before" / f"{place}.ckpt")
    whole = _run(tmp_path / "whole", after)
    assert resumed.batches == whole.batches[done:]
    epochs_before = done // (PICTURES // after)
    assert resumed.validations == whole.validations[epochs_before:]


@pytest.mark.parametrize(
    ("before", "place", "after", "done"),
    [(1, "step-step=2", 2, 2), (1, "step-step=9", 3, 9), (3, "step-step=1", 1, 3), (3, "epoch-step=2", 2, 6)],
)
def test_accumulation__is_changed(tmp_path: Path, before: int, place: str, after: int, done: int) -> None:
    _run(tmp_path / "before", 2, accumulate_grad_batches=before)
    resumed = _run(tmp_path / "resumed", 2, tmp_path / "before" / f"{place}.ckpt", accumulate_grad_batches=after)
    whole = _run(tmp_path / "whole", 2, accumulate_grad_batches=after)
    assert resumed.batches == whole.batches[done:]


def test_pictures__are_added(tmp_path: Path) -> None:
    _run(tmp_path / "before", 2)
    resumed = _run(tmp_path / "resumed", 2, tmp_path / "before" / "epoch-step=6.ckpt", pictures=20)
    whole = _run(tmp_path / "whole", 2, pictures=20)
    assert resumed.batches == whole.batches[10:]


def test_epochs__are_added_as_well(tmp_path: Path) -> None:
    _run(tmp_path / "before", 2)
    resumed = _run(tmp_path / "resumed", 4, tmp_path / "before" / "epoch-step=6.ckpt", max_epochs=4)
    assert resumed.batches == _run(tmp_path / "whole", 4, max_epochs=4).batches[3:]


def test_length__that_is_said_in_steps_counts_the_steps_taken(tmp_path: Path) -> None:
    _run(tmp_path / "before", 2)
    resumed = _run(tmp_path / "1", 4, tmp_path / "before" / "epoch-step=6.ckpt", max_epochs=-1, max_steps=9)
    rates = [rate for _, rate in _run(tmp_path / "2", 2, max_epochs=-1, max_steps=9).batches[6:]]
    assert [rate for _, rate in resumed.batches] == rates
    schedule = partial(WarmupCosine, total_steps=9)
    resumed = _run(tmp_path / "3", 4, tmp_path / "before" / "epoch-step=6.ckpt", scheduler=schedule)
    assert [rate for _, rate in resumed.batches] == rates


def test_second_stop__counts_from_the_new_batches(tmp_path: Path) -> None:
    _run(tmp_path / "1", 2)
    _run(tmp_path / "2", 4, tmp_path / "1" / "step-step=2.ckpt")
    stopped = tmp_path / "2" / "step-step=3.ckpt"  # after 8 pictures
    assert _run(tmp_path / "3", 4, stopped).batches == _run(tmp_path / "4", 4).batches[2:]
    assert _run(tmp_path / "5", 2, stopped).batches == _run(tmp_path / "6", 2).batches[4:]


def test_schedule__of_a_new_run_is_not_changed_by_the_run_before(tmp_path: Path) -> None:
    _run(tmp_path / "1", 2)
    exact = ExactResume(3)
    _run(tmp_path / "2", 2, tmp_path / "1" / "step-step=2.ckpt", exact=exact)
    assert _run(tmp_path / "3", 4, exact=exact).batches == _run(tmp_path / "4", 4).batches
