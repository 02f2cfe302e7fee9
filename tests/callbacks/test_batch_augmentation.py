"""What is done to a batch, and that it depends on seed, epoch and number of the batch alone."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from resvision.callbacks import BatchAugmentation, ExactResume
from resvision.data import Shapes
from resvision.tasks import ClassificationTask, VerificationTask
from tests.tasks.trainers import quiet_trainer

NAMES = ["a", "b", "c"]


@pytest.fixture
def task() -> ClassificationTask:
    return ClassificationTask(NAMES, backbone="resnet10t")


def _batch(dtype: torch.dtype = torch.uint8) -> dict[str, Tensor]:
    """Four pictures, each of one value that tells it from the others."""
    values = torch.tensor([10, 60, 120, 250])
    image = values[:, None, None, None].expand(4, 3, 16, 16).clone()
    if dtype == torch.uint16:
        image = image * 257
    return {"image": image.to(dtype), "label": torch.tensor([0, 1, 2, 0]), "index": torch.arange(4)}


def _changed(
    augment: BatchAugmentation,
    task: Any,
    batch: dict[str, Tensor],
    *,
    seed: int = 0,
    epoch: int = 0,
    number: int = 0,
    rank: int = 0,
) -> dict[str, Tensor]:
    trainer: Any = SimpleNamespace(datamodule=SimpleNamespace(seed=seed), current_epoch=epoch, global_rank=rank)
    augment.on_train_batch_start(trainer, task, batch, number)
    return batch


@pytest.mark.parametrize(("dtype", "largest"), [(torch.uint8, 255), (torch.uint16, 65535)])
def test_mixup__adds_pictures_and_labels_in_the_same_shares(
    task: ClassificationTask, dtype: torch.dtype, largest: int
) -> None:
    batch = _changed(BatchAugmentation(mixup=1.0), task, _batch(dtype))
    shares = batch["label"]
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(4))
    before = _batch(dtype)["image"].float() / largest
    # Each with the one before it; the second has the labels 1 and 0.
    share = shares[1, 1]
    assert 0 < share < 1
    expected = share * before + (1 - share) * before.roll(1, 0)
    torch.testing.assert_close(batch["image"], expected)
    assert task.training_loss(batch | {"image": torch.rand(4, 3, 64, 64)}).isfinite()


def test_cutmix__shares_are_areas(task: ClassificationTask) -> None:
    batch = _changed(BatchAugmentation(cutmix=1.0), task, _batch(), number=3)
    assert batch["image"].dtype == torch.uint8
    own = (batch["image"][1, 0] == 60).float().mean()
    assert 0 < own < 1
    assert batch["label"][1].tolist() == pytest.approx([1 - own.item(), own.item(), 0])


def test_both__take_turns_by_chance(task: ClassificationTask) -> None:
    augment = BatchAugmentation(mixup=1.0, cutmix=1.0)
    kinds = [_changed(augment, task, _batch(), number=n)["image"].dtype for n in range(40)]
    assert 10 < sum(kind == torch.uint8 for kind in kinds) < 30


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16])
def test_erasing__greys_a_rectangle_of_some_pictures(task: ClassificationTask, dtype: torch.dtype) -> None:
    grey = 114 if dtype == torch.uint8 else 114 * 257
    augment, erased, whole = BatchAugmentation(random_erasing=0.5), 0, 0
    for number in range(40):
        batch, before = _changed(augment, task, _batch(dtype), number=number), _batch(dtype)
        assert torch.equal(batch["label"], before["label"])
        for image, old in zip(batch["image"].int(), before["image"].int(), strict=True):
            different = image != old
            assert (image[different] == grey).all()
            # torchvision's share of the picture is 2 to 33 %.
            assert different.float().mean() < 0.4
            erased += bool(different.any())
            whole += not different.any()
    assert 50 < erased < 110


def test_draws__depend_on_seed_epoch_and_batch_alone(task: ClassificationTask) -> None:
    augment = BatchAugmentation(mixup=0.5, random_erasing=0.5)
    first = _changed(augment, task, _batch(), seed=1, epoch=2, number=3)
    torch.rand(7)
    state = torch.get_rng_state()
    again = _changed(BatchAugmentation(mixup=0.5, random_erasing=0.5), task, _batch(), seed=1, epoch=2, number=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first["image"], again["image"])
    for other in ({"seed": 2}, {"epoch": 3}, {"number": 4}):
        there: Any = {"seed": 1, "epoch": 2, "number": 3} | other
        assert not torch.equal(first["image"], _changed(augment, task, _batch(), **there)["image"])


class Seen(Callback):
    """Keeps the pictures that training sees."""

    def __init__(self) -> None:
        self.images: list[Tensor] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.images.append(batch["image"].clone())


def test_run__that_stops_goes_on_with_the_same_batches(tmp_path: Path) -> None:
    def run(folder: Path, resume: Path | None = None) -> list[Tensor]:
        data = Shapes(32, task="classification", train_size=6, val_size=2, test_size=1, batch_size=2, seed=5)
        task = ClassificationTask(list(data.class_names), backbone="resnet10t")
        seen, save = Seen(), ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
        callbacks = [BatchAugmentation(mixup=0.2, cutmix=1.0, random_erasing=0.5), seen, save, ExactResume(5)]
        trainer = quiet_trainer(folder, callbacks=callbacks, max_epochs=2, enable_checkpointing=True)
        trainer.fit(task, datamodule=data, ckpt_path=resume, weights_only=True)
        return seen.images

    whole = run(tmp_path / "whole")
    resumed = run(tmp_path / "resumed", tmp_path / "whole" / "step=2.ckpt")
    assert [image.dtype for image in resumed] == [image.dtype for image in whole[2:]]
    assert all(torch.equal(a, b) for a, b in zip(resumed, whole[2:], strict=True))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [((-0.1, 0.0, 0.0), "must be 0 or more"), ((0, 0, 1.5), "from 0 to 1"), ((0, 0, 0), "are all 0: give one")],
)
def test_augmentation__refuses_what_cannot_be(numbers: tuple[float, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BatchAugmentation(*numbers)


def test_augmentation__refuses_batches_without_labels(task: ClassificationTask) -> None:
    batch = {"image": torch.zeros(2, 3, 8, 8), "mask": torch.zeros(2, 8, 8)}
    with pytest.raises(ValueError, match="changes pictures with labels; take it out"):
        _changed(BatchAugmentation(mixup=0.2), task, batch)


def test_mixing__is_refused_where_labels_cannot_be_mixed() -> None:
    task = VerificationTask(NAMES, backbone="resnet10t")
    with pytest.raises(ValueError, match="set both to 0 for a VerificationTask"):
        _changed(BatchAugmentation(mixup=0.2), task, _batch())
    _changed(BatchAugmentation(random_erasing=1.0), task, _batch())
