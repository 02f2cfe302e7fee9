"""Driven by Lightning's trainer on pictures of coloured light; scores are compared with a computation by hand."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import AdamW
from torch.utils.data import DataLoader

from resvision.batch import MultiLabelBatch
from resvision.tasks import MultiLabelTask
from tests.tasks.trainers import quiet_trainer

NAMES = ["red", "green", "blue", "black"]


def _loader(count: int = 12, batch_size: int = 4) -> DataLoader[dict[str, Tensor]]:
    """Pictures whose channels are bright where they show the class; none is black."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for index in range(count):
        shown = torch.tensor([index & 1, index >> 1 & 1, index >> 2 & 1])
        noise = torch.randint(0, 60, (3, 8, 8), generator=generator)
        samples.append(
            {
                "image": (shown[:, None, None] * 150 + noise).byte(),
                "label": torch.tensor([*shown.tolist(), 0.0]),
                "index": torch.tensor(index),
            }
        )
    return DataLoader(samples, batch_size)  # type: ignore[arg-type]


def _task(**arguments: Any) -> MultiLabelTask:
    return MultiLabelTask(NAMES, backbone="toy", **arguments)


def _batch(label: Tensor) -> MultiLabelBatch:
    image = torch.zeros(len(label), 3, 8, 8, dtype=torch.uint8)
    return MultiLabelBatch(image=image, label=label, index=torch.arange(len(label)))


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "focal"])
def test_multi_label__learns_what_can_be_learnt(tmp_path: Path, loss: Any) -> None:
    task, trainer = _task(optimizer=partial(AdamW, lr=0.02), loss=loss), quiet_trainer(tmp_path, max_epochs=40)
    trainer.fit(task, _loader(24, 8), _loader(24, 8))
    assert trainer.callback_metrics["val/map"].item() > 0.99
    assert trainer.callback_metrics["val/f1"].item() > 0.9


def test_multi_label__scores_equal_a_hand_computation() -> None:
    task = _task()
    label = torch.tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]])
    logits = torch.tensor([[2.0, -1.0, -3.0, -1.0], [3.0, 1.0, -1.0, 1.0], [1.0, -2.0, -2.0, -1.0]])
    task.forward = lambda images: logits  # type: ignore[method-assign]
    task.evaluate(_batch(label))
    scores = task.scores()
    # Red: by probability the second picture, the first, the third; it is in the first (1 of 2) and the third (2 of 3).
    # Green: second, first, third; in the first two. Blue: second, third, first; in the third (1 of 2).
    assert [scores[f"ap/{name}"] for name in NAMES[:3]] == pytest.approx([(1 / 2 + 2 / 3) / 2, 1.0, 0.5])
    assert scores["map"] == pytest.approx((7 / 12 + 1 + 1 / 2) / 3)
    # Said, at a probability of a half: red of all three, green of the second, blue of none, black of the second.
    assert [scores[f"f1/{name}"] for name in NAMES[:3]] == pytest.approx([4 / 5, 2 / 3, 0.0])
    assert scores["f1"] == pytest.approx((4 / 5 + 2 / 3) / 3)
    assert [scores[f"recall/{name}"] for name in NAMES[:3]] == pytest.approx([1, 1 / 2, 0])
    assert scores["precision/red"] == pytest.approx(2 / 3)
    assert scores["precision/blue"] != scores["precision/blue"]  # never said
    assert all(scores[f"{score}/black"] != scores[f"{score}/black"] for score in ("ap", "recall", "f1"))  # not there


def test_multi_label__reports_a_table(tmp_path: Path) -> None:
    task = _task()
    assert task.report() == "nothing was evaluated yet"
    quiet_trainer(tmp_path).test(task, _loader(), verbose=False)
    header, *rows, mean = task.report().splitlines()
    assert header.split() == ["class", "AP", "precision", "recall", "F1", "pictures"]
    assert [row.split()[0] for row in rows] == NAMES
    assert rows[3].split()[1] == "-"
    assert mean.split()[0] == "mean"
    assert len({len(line) for line in (header, *rows)}) == 1


def test_multi_label__comes_back_from_its_checkpoint_alone(tmp_path: Path) -> None:
    trainer, task = quiet_trainer(tmp_path), _task(label_smoothing=0.1, class_weights=[1.0, 2.0, 1.0, 1.0])
    trainer.fit(task, _loader(), _loader())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = MultiLabelTask.load_from_checkpoint(tmp_path / "a.ckpt").eval()
    (batch,) = _loader(batch_size=12)
    probabilities = again.probabilities(batch["image"])
    assert torch.equal(probabilities, task.eval()(batch["image"]).sigmoid())
    assert torch.load(tmp_path / "a.ckpt", weights_only=True)["resvision"]["task"] == "MultiLabelTask"
