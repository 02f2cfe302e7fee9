"""The norms against a training by hand; the files of a run that was stopped against those of one that was not."""

import csv
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.precision import Precision
from PIL import Image
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader

from resvision.callbacks import GradientFlow
from tests.callbacks.small_runs import Rows
from tests.tasks.trainers import quiet_trainer

RATE, MOMENTUM, CLIP, BATCHES = 0.1, 0.9, 0.05, 7
LAYERS = ["0", "3"]


def _network() -> nn.Sequential:
    torch.manual_seed(3)
    convolution, linear = nn.Conv2d(1, 2, 3), nn.Linear(8, 1)
    return nn.Sequential(convolution, nn.BatchNorm2d(2), nn.Flatten(), linear)


def _pictures() -> Tensor:
    return torch.randn(BATCHES, 2, 1, 4, 4, generator=torch.Generator().manual_seed(5))


class Small(LightningModule):
    """A convolution, a norm and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.model = _network()

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss: Tensor = self.model(batch[0]).square().mean()
        return loss

    def configure_optimizers(self) -> Optimizer:
        return SGD(self.parameters(), lr=RATE, momentum=MOMENTUM)


def _norm(tensor: Tensor | None) -> float:
    assert tensor is not None
    return math.sqrt(sum(value**2 for value in tensor.flatten().tolist()))


def _by_hand(every: int, steps: int) -> list[tuple[int, str, float, float, float]]:
    """Train without Lightning; the gradients are those before clipping."""
    network, rows = _network(), []
    optimizer = SGD(network.parameters(), lr=RATE, momentum=MOMENTUM)
    for step, batch in enumerate(_pictures()[:steps]):
        optimizer.zero_grad()
        torch.autograd.backward(network(batch).square().mean())
        weights = {name: network.get_parameter(f"{name}.weight") for name in LAYERS}
        before = {name: weight.detach().clone() for name, weight in weights.items()}
        norms = {name: _norm(weight.grad) for name, weight in weights.items()}
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        for name, weight in weights.items() if step % every == 0 else ():
            size = _norm(before[name])
            rows.append((step, name, norms[name], size, _norm(weight.detach() - before[name]) / size))
    return rows


def _fit(folder: Path, *, every: int, steps: int, resume: Path | None = None, **settings: Any) -> Trainer:
    flow = GradientFlow(every)
    trainer = quiet_trainer(
        folder, callbacks=[flow], max_epochs=-1, max_steps=steps, gradient_clip_val=CLIP, **settings
    )
    pictures: Any = list(_pictures())
    trainer.fit(Small(), DataLoader(pictures), ckpt_path=resume)
    return trainer


def _table(folder: Path) -> list[tuple[int, str, float, float, float]]:
    with (folder / "gradient_flow.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["step", "layer", "gradient", "weight", "update"]
    return [(int(step), layer, *map(float, numbers)) for step, layer, *numbers in rows]  # type: ignore[misc]


def _assert_close(rows: list[Any], expected: list[Any]) -> None:
    assert [row[:2] for row in rows] == [row[:2] for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row[2:] == pytest.approx(other[2:], rel=1e-5)


def test_flow__measures_what_a_training_by_hand_does(tmp_path: Path) -> None:
    rows = Rows()
    _fit(tmp_path, every=3, steps=BATCHES, logger=rows)
    expected = _by_hand(3, BATCHES)
    assert {row[0] for row in expected} == {0, 3, 6}
    _assert_close(_table(tmp_path), expected)
    logged = {
        (row["step"], name, row[f"gradient_norm/{name}"], row[f"weight_norm/{name}"], row[f"update_ratio/{name}"])
        for row in rows.rows
        for name in LAYERS
        if f"gradient_norm/{name}" in row
    }
    assert logged == set(_table(tmp_path))


def test_flow__tells_layers_apart_that_have_a_name_in_common(tmp_path: Path) -> None:
    class TwoHeads(Small):
        def __init__(self) -> None:
            super().__init__()
            self.model.fc, self.fc = nn.Linear(1, 1), nn.Linear(1, 1)

        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            loss: Tensor = self.fc(self.model(batch[0])).square().mean()
            return loss

    pictures: Any = list(_pictures())
    quiet_trainer(tmp_path, callbacks=[GradientFlow(1)], max_epochs=-1, max_steps=1).fit(
        TwoHeads(), DataLoader(pictures)
    )
    assert [row[1] for row in _table(tmp_path)] == ["model.0", "model.3", "model.fc", "fc"]


@pytest.mark.parametrize(("takes_off", "factor"), [(True, 1 / 1024), (False, 1.0)])
def test_flow__takes_the_scale_of_fp16_off_where_the_optimiser_does_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, takes_off: bool, factor: float
) -> None:
    # Without a GPU there is no such scaler; its number is all that is asked for.
    scaler = SimpleNamespace(get_scale=lambda: 1024.0)
    monkeypatch.setattr(Precision, "scaler", scaler, raising=False)
    monkeypatch.setattr(SGD, "_step_supports_amp_scaling", takes_off, raising=False)
    _fit(tmp_path, every=1, steps=2)
    expected = [(step, layer, factor * norm, *rest) for step, layer, norm, *rest in _by_hand(1, 2)]
    _assert_close(_table(tmp_path), expected)


def test_flow__draws_a_figure(tmp_path: Path) -> None:
    _fit(tmp_path, every=3, steps=BATCHES)
    with Image.open(tmp_path / "gradient_flow.png") as picture:
        assert picture.size == (1200, 1170)
    text = (tmp_path / "gradient_flow.svg").read_text(encoding="utf-8")
    for words in ("norm of the gradient", "norm of the weight", "update ratio", "step 0", "step 6"):
        assert f">{words}<" in text


def test_flow__of_a_run_that_goes_on_is_that_of_one_without_a_stop(tmp_path: Path) -> None:
    checkpoint = tmp_path / "stopped.ckpt"
    _fit(tmp_path, every=2, steps=BATCHES).save_checkpoint(checkpoint)
    _fit(tmp_path, every=2, steps=BATCHES + 2, resume=checkpoint)
    with (tmp_path / "gradient_flow.csv").open("a", encoding="utf-8") as file:
        file.write("1")  # of a process that was killed as it wrote
    # Once more from the same place: what came after it is measured again, and is there once.
    _fit(tmp_path, every=2, steps=BATCHES + 2, resume=checkpoint)
    assert [row[0] for row in _table(tmp_path)] == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8]


def test_flow__leaves_the_table_of_the_run_alone(tmp_path: Path) -> None:
    _fit(tmp_path, every=2, steps=3, logger=CSVLogger(tmp_path, name="", version=""))
    assert len(_table(tmp_path)) == 4
    metrics = tmp_path / "metrics.csv"
    assert not metrics.exists() or "gradient_norm" not in metrics.read_text(encoding="utf-8")


def test_flow__leaves_out_what_is_frozen(tmp_path: Path) -> None:
    module = Small()
    module.get_submodule("model.0").requires_grad_(False)
    pictures: Any = list(_pictures())
    quiet_trainer(tmp_path, callbacks=[GradientFlow()], max_steps=1).fit(module, DataLoader(pictures))
    assert [row[1] for row in _table(tmp_path)] == ["3"]


def test_flow__that_cannot_be_drawn_says_so_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"resvision\[figures\]"):
        _fit(tmp_path, every=1, steps=1)
    assert list(tmp_path.iterdir()) == []


def test_flow__is_taken_at_whole_steps() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        GradientFlow(0)


def test_flow__counts_from_the_input_what_is_thawed_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gradual(Small):
        def on_train_batch_start(self, batch: Tensor, batch_idx: int) -> None:
            self.get_submodule("model.0").requires_grad_(batch_idx > 0)

    drawn = []
    monkeypatch.setattr("resvision.callbacks.gradient_flow.save_figure", lambda figure, path: drawn.append(figure))
    pictures: Any = list(_pictures())
    quiet_trainer(tmp_path, callbacks=[GradientFlow(1)], max_steps=2).fit(Gradual(), DataLoader(pictures))
    assert [row[:2] for row in _table(tmp_path)] == [(0, "3"), (1, "0"), (1, "3")]
    assert [list(line.get_xdata()) for line in drawn[0].axes[0].lines] == [[2], [1, 2]]
