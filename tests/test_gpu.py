"""What only a GPU can tell: `pytest -m gpu`."""

from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest
import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor

from resvision import create_backbone, load
from resvision.cli import main
from resvision.data import CropAndFlip, ImageFolder
from resvision.data.resident import ResidentDataset
from resvision.inference import SegmentationResult
from resvision.models import Classifier
from resvision.tasks import VisionTask
from tests.callbacks.small_runs import BATCHES, EPOCHS, Kind, assert_same_end, run

CONF = Path(__file__).parent / "conf"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
    pytest.mark.usefixtures("small_backbones"),
]


@pytest.fixture(autouse=True)
def _settings_of_torch() -> Iterator[None]:
    """Put back what a trainer sets for the whole process."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.cuda.set_sync_debug_mode("default")


def _write_pictures(root: Path, names: list[str]) -> None:
    rng = np.random.default_rng(0)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), rng.integers(0, 256, (40, 36, 3), dtype=np.uint8))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("kind", get_args(Kind))
def test_training__waits_for_nothing_in_its_steps(
    kind: Kind, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same without a GPU stands in tests/tasks/test_accelerator.py; here the kernels are asked."""
    training_step = VisionTask.training_step
    steps = []

    def watched(task: VisionTask, batch: Any, batch_idx: int) -> Tensor:
        assert task.device.type == "cuda"
        torch.cuda.set_sync_debug_mode("error")
        try:
            loss = training_step(task, batch, batch_idx)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        steps.append(loss.detach())
        return loss

    monkeypatch.setattr(VisionTask, "training_step", watched)
    run(kind, tmp_path, accelerator="gpu", precision=precision)
    assert len(steps) == BATCHES * EPOCHS
    assert torch.stack(steps).isfinite().all()


@pytest.mark.parametrize("kind", get_args(Kind))
def test_run__that_is_deterministic_goes_on_exactly(kind: Kind, tmp_path: Path) -> None:
    whole = run(kind, tmp_path, save=True, accelerator="gpu", deterministic=True)
    for place in ("3-batch", "4-validation", "4-epoch", "10-batch"):
        checkpoint = tmp_path / f"{place}.ckpt"
        resumed = run(kind, tmp_path / place, resume=checkpoint, accelerator="gpu", deterministic=True)
        assert_same_end(resumed, whole, place)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d", "seresnet50", "cifar_resnet20"])
def test_backbone__says_on_a_gpu_what_it_says_on_a_cpu(name: str) -> None:
    model = Classifier(create_backbone(name), 10).eval()
    images = torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        expected = model(images)
        found = model.to(memory_format=torch.channels_last).to("cuda")(images.to("cuda")).cpu()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_pictures__are_cropped_and_flipped_on_a_gpu_as_on_a_cpu(tmp_path: Path) -> None:
    names = [f"{split}/{name}/{number}.png" for split in ("train", "val") for name in "ab" for number in range(6)]
    _write_pictures(tmp_path, names)
    data = ImageFolder(str(tmp_path), image_size=32, batch_size=5, num_workers=0, augmentation=CropAndFlip(padding=4))
    data.setup("fit")
    loader = data.train_dataloader()
    on_cpu = data.dataset("train")
    assert isinstance(on_cpu, ResidentDataset)
    on_gpu = copy(on_cpu)
    on_gpu._pixels = on_cpu._pixels.cuda()
    for batch in loader:
        found = on_gpu.crop(move_data_to_device(batch, torch.device("cuda")))
        assert found["image"].device.type == found["label"].device.type == "cuda"
        assert torch.equal(found["image"].cpu(), on_cpu.crop(batch)["image"])


@pytest.mark.parametrize("conf", ["seg_shapes.yaml", "cls_shapes.yaml", "det_shapes.yaml", "multi_shapes.yaml"])
def test_command_line__trains_scores_and_predicts(
    conf: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _write_pictures(tmp_path / "new", ["a.png", "b.png"])
    quiet = ["--trainer.enable_progress_bar", "false"]
    assert main(["fit", "--config", str(CONF / conf), "--run_dir", "run", *quiet]) == 0
    said = capsys.readouterr()
    assert "1 x cuda, precision bf16-mixed, channels_last" in said.out + said.err
    assert main(["test", "--ckpt_path", "run", *quiet]) == 0
    assert main(["predict", "--ckpt_path", "run", "--data", "new", "--output", "said"]) == 0
    assert len((tmp_path / "said" / "predictions.jsonl").read_text().splitlines()) == 2


def test_predictor__says_on_a_gpu_about_what_it_says_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--config", str(CONF / "seg_shapes.yaml"), "--run_dir", "run", "--trainer.enable_progress_bar", "false"]
    assert main(["fit", *words]) == 0
    _write_pictures(tmp_path, ["a.png"])
    on_cpu, on_gpu = (load("run", device).predict(tmp_path / "a.png") for device in ("cpu", "cuda"))
    assert isinstance(on_cpu, SegmentationResult)
    assert isinstance(on_gpu, SegmentationResult)
    assert (on_cpu.mask == on_gpu.mask).mean() > 0.95  # bf16 decides some pixels otherwise


def test_clipping__takes_fused_optimisers_in_bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--config", str(CONF / "cls_shapes.yaml"), "--run_dir", "run", "--trainer.gradient_clip_val", "0.1"]
    words += ["--model.optimizer", "AdamW", "--model.optimizer.lr", "0.001", "--model.optimizer.fused", "true"]
    assert main(["fit", *words, "--trainer.enable_progress_bar", "false"]) == 0
