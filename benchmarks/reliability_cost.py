"""What surviving costs: a share of each training step, of the start of a command, and of the memory while saving.

The time of the callbacks is taken within a run of `fit`, around each of their hooks, so that whatever else the machine
does falls on them and on the step alike. The aims: at most 2 % of a step of resnet50 at 224, 0.2 s of the start, 32 MiB
while a checkpoint of 600 MiB is written.

    python benchmarks/reliability_cost.py --steps 12
"""

import argparse
import importlib
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from resvision.callbacks import CleanStop, ExactResume, FiniteLoss, SafeCheckpointIO, remove_orphans
from resvision.data import Shapes
from resvision.tasks import ClassificationTask

HOOKS = ("on_train_batch_start", "on_train_batch_end")
MODULES = ("best_checkpoint", "clean_stop", "exact_resume", "finite_loss", "safe_checkpoints")
MIB = 2**20


class Clock(Callback):
    """Times the steps after the first two."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return (self.ends[-1] - self.ends[1]) / (len(self.ends) - 2)


def share_of_a_step(steps: int, batch_size: int) -> float:
    """Return the part of a training step that the callbacks take."""
    spent = 0.0

    def timed(hook: Callable[..., None]) -> Callable[..., None]:
        def run(*args: Any, **kwargs: Any) -> None:
            nonlocal spent
            begin = time.perf_counter()
            hook(*args, **kwargs)
            spent += time.perf_counter() - begin

        return run

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        parts: list[Callback] = [ExactResume(0), FiniteLoss(folder / "nonfinite"), CleanStop(folder / "last.ckpt")]
        for part in parts:
            for name in HOOKS:
                setattr(part, name, timed(getattr(part, name)))
        data = Shapes(224, task="classification", train_size=steps * batch_size, val_size=1, batch_size=batch_size)
        task = ClassificationTask(list(data.class_names), backbone="resnet50")
        clock = Clock()
        trainer = Trainer(
            max_epochs=1,
            accelerator="cpu",
            callbacks=[*parts, clock],
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        trainer.fit(task, datamodule=data)
    return spent / steps / clock.step


def start_up() -> float:
    """Return the seconds for importing the parts, building them, and sweeping a hundred run folders."""
    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place) / str(number) / "checkpoints" for number in range(100)]
        for folder in folders:
            folder.mkdir(parents=True)
            (folder / "last.ckpt").touch()
        begin = time.perf_counter()
        for name in MODULES:
            importlib.reload(sys.modules[f"resvision.callbacks.{name}"])
        parts = (SafeCheckpointIO(), ExactResume(0), FiniteLoss(folders[0]), CleanStop(folders[0] / "last.ckpt"))
        remove_orphans(folders)
        seconds = time.perf_counter() - begin
    assert len(parts) == 4
    return seconds


def memory_of_saving(size: int) -> tuple[float, float]:
    """Return the growth of the process's largest memory in MiB, and the seconds, of writing `size` MiB."""
    checkpoint = {"state_dict": {str(number): torch.ones(MIB) for number in range(size // 4)}}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as place:
        begin = time.perf_counter()
        SafeCheckpointIO().save_checkpoint(checkpoint, Path(place) / "last.ckpt")
        seconds = time.perf_counter() - begin
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, seconds


def main() -> None:
    """Print the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--size", type=int, default=600, help="MiB of the checkpoint")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    # First, while nothing has taken more memory yet than the checkpoint itself.
    growth, seconds = memory_of_saving(options.size)
    print(f"writing {options.size} MiB: {growth:.1f} MiB more memory, {seconds:.1f} s")
    print(f"start: {start_up():.3f} s more")
    share = share_of_a_step(options.steps, options.batch_size)
    print(f"a step of resnet50 at 224, batch {options.batch_size}: {share:.2%} of it")


if __name__ == "__main__":
    main()
