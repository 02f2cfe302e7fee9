"""The best checkpoint of a run that continues another one in a new folder."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel

from resvision.callbacks import BestCheckpoint

pytestmark = [
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory"),
]


class Scored(BoringModel):
    """Has the scores that it is given, one an epoch."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores = scores

    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            self.log("score", torch.tensor(self.scores[self.current_epoch]))


def _fit(folder: Path, scores: list[float], resume: Path | None = None, continued: Path | None = None) -> float:
    """Return the best score, after one epoch for each score."""
    best = BestCheckpoint(folder, monitor="score", mode="max", continued=continued)
    last = ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = Trainer(
        max_epochs=len(scores),
        accelerator="cpu",
        callbacks=[best, last],
        limit_train_batches=1,
        limit_val_batches=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Scored(scores), ckpt_path=resume, weights_only=True)
    assert best.best_model_score is not None
    return best.best_model_score.item()


def _epoch(path: Path) -> int:
    epoch: int = torch.load(path, weights_only=True)["epoch"]
    return epoch


@pytest.mark.parametrize(("new", "best", "epoch"), [(0.3, 0.75, 0), (1.0, 1.0, 2)])
def test_best__competes_with_that_of_the_run_before(new: float, best: float, epoch: int, tmp_path: Path) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    _fit(one, [0.75, 0.5])
    score = _fit(two, [0.75, 0.5, new], resume=one / "last.ckpt", continued=one / "best.ckpt")
    assert (score, _epoch(two / "best.ckpt")) == (best, epoch)
    assert _epoch(one / "best.ckpt") == 0
    assert sorted(path.name for path in two.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_best__of_a_later_epoch_than_the_one_to_go_on_from_does_not_count(tmp_path: Path) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    _fit(one, [0.5])
    (one / "last.ckpt").rename(one / "first.ckpt")
    _fit(one, [0.5, 0.75], resume=one / "first.ckpt")
    assert _fit(two, [0.5, 0.6], resume=one / "first.ckpt", continued=one / "best.ckpt") == pytest.approx(0.6)


def test_best__that_is_broken_is_named(tmp_path: Path) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    _fit(one, [0.75])
    (one / "best.ckpt").write_bytes(b"broken")
    with pytest.warns(UserWarning, match=r"best\.ckpt cannot be read, so this run has a best of its own"):
        assert _fit(two, [0.75, 0.5], resume=one / "last.ckpt", continued=one / "best.ckpt") == 0.5


def test_best__of_the_same_folder_goes_on(tmp_path: Path) -> None:
    _fit(tmp_path, [0.75])
    assert _fit(tmp_path, [0.75, 0.5], resume=tmp_path / "last.ckpt") == 0.75
    assert _epoch(tmp_path / "best.ckpt") == 0
