"""`fit` on a fixed batch against a bare PyTorch loop of the same model: how much of the speed the framework leaves.

Both sides train the same ResUNet on one uint8 batch with the same loss and optimiser, in bf16 where there is a GPU, and
take turns. `fit` has the loggers, the progress bar and the callbacks that the command line gives it for every step. The
ratio is its steps per second over those of the bare loop; the aim is 0.95 on resnet50 at 224.

    python benchmarks/fit_overhead.py --backbones resnet18 resnet50 --batch_size 4
    python benchmarks/fit_overhead.py --batch_size 64 --steps 100   # where there is a GPU
"""

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader

from resvision.batch import SegmentationBatch
from resvision.callbacks import CleanStop, ExactResume, FiniteLoss, Progress
from resvision.tasks import SegmentationTask, parameter_groups

CLASSES = [str(number) for number in range(11)]
WARM_UP = 2
ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")


def now() -> float:
    """Return the time at which everything that was asked for so far is done."""
    if ON_GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


class Clock(Callback):
    """Times the steps after the warm-up, all that happens between them included."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.seconds = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if batch_idx + 1 == WARM_UP:
            self._begin = now()
        elif batch_idx + 1 == WARM_UP + self.steps:
            self.seconds = now() - self._begin


def fixed_batch(size: int, batch_size: int) -> SegmentationBatch:
    """Return random pixels and classes as a loader hands them over."""
    image = torch.randint(0, 256, (batch_size, size, size, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    mask = torch.randint(0, len(CLASSES), (batch_size, size, size), dtype=torch.uint8)
    if ON_GPU:
        image, mask = image.pin_memory(), mask.pin_memory()
    return {"image": image, "mask": mask, "index": torch.arange(batch_size)}


def bare(backbone: str, batch: SegmentationBatch, steps: int) -> float:
    """Return the seconds of a plain loop."""
    task = SegmentationTask(CLASSES, backbone=backbone).to(DEVICE)
    model, loss = task.model.train(), task.loss
    optimizer = torch.optim.AdamW(parameter_groups(task.parameters()), lr=1e-3, fused=True)
    begin = 0.0
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            begin = now()
        image, mask = (batch[name].to(DEVICE, non_blocking=True) for name in ("image", "mask"))
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=ON_GPU):
            found = loss(model(image), mask)
        # Here, as in Lightning, and not before the forward pass: the memory of the gradients is used again at once, and
        # not given back to the system, which makes a step up to a tenth slower.
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
    return now() - begin


def fit(backbone: str, batch: SegmentationBatch, steps: int) -> float:
    """Return the seconds of the same steps by Lightning, with the loggers and callbacks of the command line."""
    task, clock = SegmentationTask(CLASSES, backbone=backbone), Clock(steps)
    with tempfile.TemporaryDirectory() as folder:
        loggers = [CSVLogger(folder, flush_logs_every_n_steps=20), TensorBoardLogger(Path(folder) / "tensorboard")]
        watchful = [FiniteLoss(Path(folder) / "nonfinite"), CleanStop(Path(folder) / "last.ckpt")]
        trainer = Trainer(
            max_epochs=1,
            accelerator=DEVICE.type,
            precision="bf16-mixed" if ON_GPU else "32-true",
            logger=loggers,
            callbacks=[ExactResume(0), LearningRateMonitor("step"), *watchful, Progress(), clock],
            log_every_n_steps=10,
            enable_checkpointing=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        # Of a list of batches, Lightning would take each for a loader.
        trainer.fit(task, DataLoader([batch] * (WARM_UP + steps), batch_size=None))  # type: ignore[arg-type]
    return clock.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=8, help="steps of a turn")
    parser.add_argument("--seconds", type=float, default=75, help="for each backbone, and at least three turns")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    batch = fixed_batch(options.size, options.batch_size)
    for backbone in options.backbones:
        ratios: list[float] = []
        steps_a_second: list[float] = []
        begin = time.perf_counter()
        while len(ratios) < 3 or time.perf_counter() - begin < options.seconds:
            loop, lightning = (side(backbone, batch, options.steps) for side in (bare, fit))
            ratios.append(loop / lightning)
            steps_a_second.append(options.steps / lightning)
        rate, ratio = statistics.median(steps_a_second), statistics.median(ratios)
        print(
            f"{backbone:>10} at {options.size}, batch {options.batch_size}: fit {rate:.2f} steps/s, "
            f"{ratio:.3f} of the bare loop ({min(ratios):.3f} to {max(ratios):.3f})"
        )


if __name__ == "__main__":
    main()
