"""Scores against torchmetrics' and by hand; training by Lightning on pictures whose brightness is their identity."""

import itertools
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor
from torch.nn import functional as F
from torch.optim import AdamW
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import binary_auroc

from resvision.tasks import VerificationScores, VerificationTask, verification
from tests.tasks.trainers import quiet_trainer

NAMES = ["ann", "bob", "cem"]


def _loader(classes: int = 3, shift: int = 0, count: int = 12) -> DataLoader[dict[str, Tensor]]:
    """Pictures with a stripe whose place tells who it is; with a shift it is in places that training has not seen."""
    generator = torch.Generator().manual_seed(shift)
    samples = []
    for index in range(count):
        image = torch.randint(0, 60, (3, 16, 16), generator=generator)
        row = 4 * (index % classes) + shift
        image[:, row : row + 2] = 250
        samples.append({"image": image.byte(), "label": torch.tensor(index % classes), "index": torch.tensor(index)})
    return DataLoader(samples, 6)  # type: ignore[arg-type]


def _task(**arguments: Any) -> VerificationTask:
    defaults: dict[str, Any] = {"backbone": "toy", "embedding_size": 8, "scale": 16.0}
    return VerificationTask(NAMES, **(defaults | arguments))


def test_scores__equal_torchmetrics_and_a_hand_computation() -> None:
    same, different = torch.tensor([0.9, 0.8, 0.3]), torch.tensor([0.1, 0.3, 0.2, 0.85, -0.4])
    scores = VerificationScores.of(same, different)
    truth = torch.tensor([1] * 3 + [0] * 5)
    assert scores.roc_auc == pytest.approx(binary_auroc(torch.cat([same, different]), truth).item())
    assert scores.roc_auc == pytest.approx((5 + 4 + 3.5) / 15)
    # From 0.3 on all same pairs are accepted, and two of five different ones; from 0.8 on it would be 2/3 and one.
    assert scores.threshold == pytest.approx(0.3)
    assert scores.accuracy == pytest.approx((3 / 3 + 3 / 5) / 2)
    # No different pair may be accepted, for 1 % of five is none: only 0.9 is above all.
    assert scores.true_accept_rates == pytest.approx((1 / 3, 1 / 3))
    there = VerificationScores.of(same, different, threshold=0.5)
    assert there.threshold == 0.5
    assert there.accuracy == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_scores__of_many_pairs_have_false_accept_rates() -> None:
    generator = torch.Generator().manual_seed(0)
    same, different = 1 + torch.randn(500, generator=generator), -1 + torch.randn(3000, generator=generator)
    scores = VerificationScores.of(same, different)
    for rate, found in zip((0.01, 0.001), scores.true_accept_rates, strict=True):
        limits = torch.cat([same, different])
        allowed = [limit for limit in limits if (different > limit).double().mean() <= rate]
        assert found == pytest.approx((same > min(allowed)).double().mean().item(), abs=1 / 500)
    truth = torch.cat([torch.ones(500), torch.zeros(3000)]).long()
    assert scores.roc_auc == pytest.approx(binary_auroc(torch.cat([same, different]), truth).item(), abs=1e-6)


def test_scores__need_pairs_of_both_kinds() -> None:
    with pytest.raises(ValueError, match="got 0 and 2; the split must have two classes or more"):
        VerificationScores.of(torch.empty(0), torch.zeros(2))


def test_verification__learns_to_tell_strangers_apart(tmp_path: Path) -> None:
    task = _task(optimizer=partial(AdamW, lr=0.01), finetune=None)
    trainer = quiet_trainer(tmp_path, max_epochs=30)
    trainer.fit(task, _loader(count=24), _loader())
    assert trainer.callback_metrics["val/roc_auc"].item() > 0.95
    threshold = task.threshold.item()
    assert -1 < threshold < 1
    (scores,) = trainer.test(task, _loader(), verbose=False)
    assert scores["test/accuracy"] > 0.9
    assert task.threshold.item() == threshold  # a test changes nothing
    assert set(scores) == {"test/roc_auc", "test/accuracy", "test/tar_at_far_0.01", "test/tar_at_far_0.001"}
    first, *rows = task.report().splitlines()
    assert first.split()[:2] == ["ROC", "AUC"]
    assert len(rows) == 3


def test_verification__scores_all_pairs_of_the_split() -> None:
    task = _task()
    embeddings = torch.nn.functional.normalize(torch.randn(12, 8), dim=1)
    batches = list(_loader())
    answers = {id(batch["image"]): part for batch, part in zip(batches, (embeddings[:6], embeddings[6:]), strict=True)}
    task.forward = lambda images: answers[id(images)]  # type: ignore[method-assign]
    for batch in batches:
        task.evaluate(batch)
    label = torch.arange(12) % 3
    pairs = [(i, j) for i in range(12) for j in range(i)]
    similarity = torch.stack([embeddings[i] @ embeddings[j] for i, j in pairs])
    same = torch.tensor([int(label[i] == label[j]) for i, j in pairs])
    assert len(pairs) == 66
    assert task.scores()["roc_auc"] == pytest.approx(binary_auroc(similarity, same).item(), abs=1e-6)


@pytest.mark.parametrize("limit", [1, 0.5])
def test_verification__of_a_part_that_shows_one_person_has_no_scores(tmp_path: Path, limit: float) -> None:
    task, one = _task(), _loader(classes=1)
    trainer = quiet_trainer(tmp_path, limit_val_batches=limit)
    trainer.fit(task, _loader(), one)
    assert trainer.callback_metrics["val/roc_auc"].isnan()
    assert task.threshold.item() == 0
    assert task.report().splitlines()[0].split() == ["ROC", "AUC", "nan"]
    with pytest.raises(ValueError, match="got 66 and 0; the split must have two classes or more"):
        quiet_trainer(tmp_path).validate(task, one, verbose=False)


def test_verification__embeds_on_the_unit_sphere_and_comes_back(tmp_path: Path) -> None:
    task, trainer = _task(), quiet_trainer(tmp_path)
    trainer.fit(task, _loader(), _loader())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = VerificationTask.load_from_checkpoint(tmp_path / "a.ckpt").eval()
    pictures = next(iter(_loader()))["image"]
    embeddings = again(pictures)
    assert torch.equal(embeddings, task.eval()(pictures))
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(6))
    assert again.threshold.item() == task.threshold.item()


def test_verification__needs_two_identities() -> None:
    with pytest.raises(ValueError, match="training tells 2 or more classes apart, got 1"):
        VerificationTask(["ann"], backbone="toy")


def test_verification__needs_a_length_of_its_embeddings() -> None:
    with pytest.raises(ValueError, match=r"^embedding_size must be a whole number of at least 1, got 0$"):
        _task(embedding_size=0)


def test_plateau__has_no_loss_to_watch() -> None:
    task = _task(scheduler=partial(ReduceLROnPlateau, mode="min"))
    with pytest.raises(ValueError, match=r"has no val/loss, .*give it mode: max, and it watches val/roc_auc"):
        task.configure_optimizers()


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_similarities__of_blocks_are_those_of_all_pairs(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "_ROWS", rows)
    embeddings = F.normalize(torch.randn(13, 5), dim=1)
    label = torch.randint(3, (13,))
    same, different = verification._similarities(embeddings, label)
    pairs = list(itertools.combinations(range(13), 2))
    for found, alike in ((same, True), (different, False)):
        expected = [float(embeddings[i] @ embeddings[j]) for i, j in pairs if (label[i] == label[j]).item() == alike]
        assert found.sort().values.tolist() == pytest.approx(sorted(expected), abs=1e-6)
    assert [len(one) for one in verification._similarities(torch.zeros(0, 5), torch.zeros(0))] == [0, 0]


def test_whiten__looks_at_the_training_pictures_and_their_mirror_images_once(tmp_path: Path) -> None:
    task, loader = _task(embedding_size=None, whiten=True, features=["stem", "stage1"]), _loader()
    before = task.model.embedding[2].weight.detach().clone()  # type: ignore[operator]
    with torch.no_grad():
        task.model.eval()
        images = torch.cat([batch["image"] for batch in loader])
        pooled = torch.cat([task.model.pooled(images), task.model.pooled(images.flip(3))]).double().numpy()
        task.model.train()
    deviation = np.sqrt(pooled.var(axis=0) + 1e-5)
    correlation = np.cov(pooled.T, bias=True) / np.outer(deviation, deviation)
    seen: dict[str, Tensor] = {}

    class _First(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            seen.setdefault("weight", pl_module.model.embedding[2].weight.detach().clone())
            assert all(part.training for part in pl_module.model.modules())

    trainer = quiet_trainer(tmp_path, callbacks=[_First()])
    trainer.fit(task, loader, loader)
    weight = seen["weight"].double().numpy()
    np.testing.assert_allclose(weight @ (0.7 * correlation + 0.3 * np.eye(24)) @ weight.T, np.eye(24), atol=1e-4)
    assert not torch.equal(seen["weight"], before)
    # A run that goes on has its weights from the checkpoint.
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    trained = task.model.embedding[2].weight.detach().clone()  # type: ignore[operator]
    again = _task(embedding_size=None, whiten=True, features=["stem", "stage1"])
    seen.clear()
    quiet_trainer(tmp_path, max_epochs=2, callbacks=[_First()]).fit(
        again, loader, loader, ckpt_path=tmp_path / "a.ckpt"
    )
    torch.testing.assert_close(seen["weight"], trained)


def test_whiten__keeps_the_length_of_the_features() -> None:
    with pytest.raises(ValueError, match="whiten keeps the number of the features; leave out embedding_size, or whit"):
        _task(whiten=True)
