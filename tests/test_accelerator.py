"""What can be told of training on an accelerator without one."""

import copy
import inspect
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, get_args
from unittest import mock

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from resvision.inference import Predictor
from resvision.tasks import VisionTask
from tests.callbacks.small_runs import Kind, small_data, small_task
from tests.fake_gpu import FakeGPU

pytestmark = pytest.mark.usefixtures("small_backbones")

#: Operators of which `torch.use_deterministic_algorithms` says that they, or their gradients, are an error on CUDA.
NOT_DETERMINISTIC: Final = {
    "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
    "_ctc_loss",
    "adaptive_max_pool2d",
    "avg_pool3d",
    "fractional_max_pool2d",
    "fractional_max_pool3d",
    "grid_sampler_2d",
    "histc",
    "max_unpool2d",
    "max_unpool3d",
    "median",
    "nll_loss2d_forward",
    "put_",
    "reflection_pad1d",
    "reflection_pad2d",
    "upsample_bicubic2d",
    "upsample_bilinear2d",
    "upsample_linear1d",
    "upsample_trilinear3d",
}


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the names of all operators that were used."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def _training(kind: Kind, folder: Path) -> tuple[VisionTask, Any, FakeGPU]:
    """Return a task in training, a batch, and a GPU that takes both."""
    data = small_data(kind, folder, batch_size=2, num_workers=0, augmentation="strong")
    data.setup("fit")
    return small_task(kind, data, folder).train(), next(iter(data.train_dataloader())), FakeGPU(has_fp64=False)


@pytest.mark.parametrize("precision", [None, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", get_args(Kind))
def test_training_step__waits_for_nothing(kind: Kind, precision: torch.dtype | None, tmp_path: Path) -> None:
    task, batch, gpu = _training(kind, tmp_path)
    there, batch = gpu.take_module(task), gpu.take(batch)
    with gpu.working(precision) as waited_for:
        loss = there.training_loss(batch)
    assert waited_for == []
    assert (loss.shape, loss.dtype, loss.device.type) == ((), torch.float32, "cuda")
    assert loss.requires_grad


@pytest.mark.parametrize("kind", get_args(Kind))
def test_training_step__can_be_deterministic(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, batch, gpu = _training(kind, tmp_path)
    # Torch's own functions ask for this, and take slower operators then.
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    there, batch = gpu.take_module(task), gpu.take(batch)
    with gpu.working(), Operators() as used:
        there.training_loss(batch)
    assert "convolution" in used.names
    assert used.names & NOT_DETERMINISTIC == set()


@pytest.mark.parametrize("kind", get_args(Kind))
def test_training_step__has_the_loss_of_the_cpu(kind: Kind, tmp_path: Path) -> None:
    task, batch, gpu = _training(kind, tmp_path)
    there = gpu.take_module(copy.deepcopy(task))
    with torch.random.fork_rng(devices=[]):
        loss = task.training_loss(batch)
    with gpu.working():
        # Older releases of torch take a GPU's operators apart in other ways, which differ by a rounding.
        torch.testing.assert_close(there.training_loss(gpu.take(batch)).cpu(), loss, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_evaluation__has_the_scores_of_the_cpu(kind: Kind, tmp_path: Path) -> None:
    data = small_data(kind, tmp_path, batch_size=2, num_workers=0)
    data.setup("fit")
    task, gpu = small_task(kind, data, tmp_path).eval(), FakeGPU(has_fp64=False)
    there = gpu.take_module(copy.deepcopy(task))
    task.reset_evaluation()
    with torch.no_grad():
        for batch in data.val_dataloader():
            task.evaluate(batch)
    with gpu.working(), torch.no_grad():
        there.reset_evaluation()
        for batch in data.val_dataloader():
            there.evaluate(gpu.take(batch))
        scores = there.scores()
    assert scores == pytest.approx(task.scores(), abs=0, rel=0, nan_ok=True)
    assert there.report() == task.report()


@pytest.mark.parametrize("kind", get_args(Kind))
def test_predictor__says_what_it_says_on_the_cpu(kind: Kind, tmp_path: Path) -> None:
    data = small_data(kind, tmp_path, batch_size=2, num_workers=0)
    data.setup("fit")
    image = next(iter(data.val_dataloader()))["image"][0].permute(1, 2, 0).numpy()
    predictor, gpu = Predictor(small_task(kind, data, tmp_path), "cpu"), FakeGPU(has_fp64=False)
    expected = predictor.predict(image)
    gpu.take_module(predictor.task)
    predictor.device = torch.device("cuda")
    with gpu.working(), mock.patch("torch.cuda.is_bf16_supported", return_value=False), torch.no_grad():
        # Without its inference mode, which is closed to tensors made in Python.
        found = inspect.unwrap(Predictor.predict)(predictor, image)
    _assert_close(asdict(found), asdict(expected))


def _assert_close(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            _assert_close(found[name], value)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    else:
        assert found == expected


@pytest.mark.parametrize("precision", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["segmentation", "classification", "multi_label", "verification"])
def test_evaluation__waits_for_nothing_before_its_scores(
    kind: Kind, precision: torch.dtype | None, tmp_path: Path
) -> None:
    data = small_data(kind, tmp_path, batch_size=2, num_workers=0)
    data.setup("fit")
    batch = next(iter(data.val_dataloader()))
    task, gpu = small_task(kind, data, tmp_path), FakeGPU()
    gpu.take_module(task)
    task.eval()
    with gpu.working(precision) as waited_for, torch.no_grad():
        task.evaluate(gpu.take(batch))
    assert waited_for == []


def test_fake_gpu__tells_what_is_waited_for() -> None:
    gpu = FakeGPU()
    values = gpu.take(torch.tensor([0.0, 1.0, 2.0]))
    with gpu.working() as waited_for:
        assert values.sum().item() == 3
        assert values.nonzero().cpu().tolist() == [[1], [2]]
        assert values[values > 0].cpu().tolist() == [1, 2]
        values += torch.tensor([1.0, 2.0, 3.0], device="cuda")
        values.to("cpu", non_blocking=True)
        assert values[torch.tensor([1])] == 3
        with pytest.raises(RuntimeError, match=r"add.Tensor takes tensors of two devices, cuda:0 and cpu"):
            values + torch.zeros(3)
        values[:2].zero_()
    assert waited_for == [
        "a number",
        "the places that are not 0",
        "(2, 1) from cuda:0 to cpu",
        "what a mask leaves",
        "(2,) from cuda:0 to cpu",
        "(3,) from cpu to cuda:0",
        "a number",
    ]
    assert values.cpu().tolist() == [0, 0, 5]


def test_fake_gpu__may_have_no_fp64() -> None:
    gpu = FakeGPU(has_fp64=False)
    with gpu.working():
        values = torch.zeros(3, device="cuda")
        with pytest.raises(TypeError, match=r"_to_copy.default makes float64, which the device does not have"):
            values.double()
        assert values.cpu().double().dtype == torch.float64
    with pytest.raises(TypeError, match="float64"):
        gpu.take(torch.zeros(1, dtype=torch.float64))
