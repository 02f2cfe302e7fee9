"""What can be told of training on an accelerator without one."""

from pathlib import Path
from typing import Any, Final, get_args

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from resvision.backbones import BackboneEntry, registry
from resvision.tasks import VisionTask
from tests.callbacks.small_runs import Kind, RandomBackbone, small_data, small_task
from tests.fake_gpu import FakeGPU

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


@pytest.fixture(autouse=True)
def _random_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._ENTRIES, "random", BackboneEntry("random", RandomBackbone))


def _training(kind: Kind, folder: Path) -> tuple[VisionTask, Any, FakeGPU]:
    """Return a task in training and a batch, both on a GPU that computes nothing."""
    data = small_data(kind, folder, batch_size=2, num_workers=0, augmentation="strong")
    data.setup("fit")
    task, gpu = small_task(kind, data, folder), FakeGPU()
    gpu.take_module(task)
    return task.train(), gpu.take(next(iter(data.train_dataloader()))), gpu


@pytest.mark.parametrize("precision", [None, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", get_args(Kind))
def test_training_step__waits_for_nothing(kind: Kind, precision: torch.dtype | None, tmp_path: Path) -> None:
    task, batch, gpu = _training(kind, tmp_path)
    with gpu.working(precision) as waited_for:
        loss = task.training_loss(batch)
    assert waited_for == []
    assert (loss.shape, loss.dtype, loss.device.type) == ((), torch.float32, "cuda")
    assert loss.requires_grad


@pytest.mark.parametrize("kind", get_args(Kind))
def test_training_step__can_be_deterministic(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, batch, gpu = _training(kind, tmp_path)
    # Torch's own functions ask for this, and take slower operators then.
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    with gpu.working(), Operators() as used:
        task.training_loss(batch)
    assert "convolution" in used.names
    assert used.names & NOT_DETERMINISTIC == set()


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
    values = gpu.take(torch.zeros(3))
    with gpu.working() as waited_for:
        with pytest.raises(Exception, match="_local_scalar_dense"):
            values.sum().item()
        with pytest.raises(Exception, match="nonzero"):
            values.nonzero()
        with pytest.raises(Exception, match=r"cuda:0 and cpu|cuda:0, cpu"):
            values + torch.zeros(3)
        assert waited_for == []
        torch.tensor([1.0, 2.0], device="cuda")
        values.cpu()
        values.to("cpu", non_blocking=True)
    assert waited_for == ["(2,) from cpu to cuda:0", "(3,) from cuda:0 to cpu"]
