"""What `GradientFlow` costs at its default: the part of the training time that it takes.

The time of its hooks is taken within a run of `fit`, TensorBoard included, so that whatever else the machine does falls
on them and on the steps alike; the aim is at most 1 %. The figure, drawn once when the training ends, is timed by
itself.

    python benchmarks/gradient_flow_cost.py --steps 210
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from resvision.callbacks import GradientFlow
from resvision.data import Shapes
from resvision.tasks import ClassificationTask

HOOKS = ("on_before_optimizer_step", "on_train_batch_end")


class Clock(Callback):
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())

    @property
    def step(self) -> float:
        """Seconds of a step, without the first two."""
        return (self.ends[-1] - self.ends[1]) / (len(self.ends) - 2)


def share(backbone: str, size: int, batch_size: int, steps: int) -> tuple[float, float, float]:
    """Return the part of the steps that the callback takes, the seconds of a step, and those of the figure."""
    spent = dict.fromkeys((*HOOKS, "on_train_end"), 0.0)

    def timed(name: str, hook: Callable[..., None]) -> Callable[..., None]:
        def run(*args: Any, **kwargs: Any) -> None:
            begin = time.perf_counter()
            hook(*args, **kwargs)
            spent[name] += time.perf_counter() - begin

        return run

    with tempfile.TemporaryDirectory() as place:
        flow, clock = GradientFlow(), Clock()
        for name in spent:
            setattr(flow, name, timed(name, getattr(flow, name)))
        data = Shapes(size, task="classification", train_size=steps * batch_size, val_size=1, batch_size=batch_size)
        trainer = Trainer(
            max_epochs=1,
            accelerator="cpu",
            callbacks=[flow, clock],
            limit_val_batches=0,
            logger=TensorBoardLogger(place),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=Path(place),
        )
        trainer.fit(ClassificationTask(list(data.class_names), backbone=backbone), datamodule=data)
    return sum(spent[name] for name in HOOKS) / (steps * clock.step), clock.step, spent["on_train_end"]


def main() -> None:
    """Print a row for a small and for a large network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=210, help="of which every 100th is measured")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    for backbone, size, batch_size in (("cifar_resnet20", 32, 32), ("cifar_resnet110", 32, 32), ("resnet50", 64, 8)):
        part, step, figure = share(backbone, size, batch_size, options.steps)
        what = f"{backbone}, {batch_size} pictures of {size}x{size}"
        print(f"{what}: {part:.2%} of the steps, of {1000 * step:.0f} ms each; the figure {figure:.1f} s", flush=True)


if __name__ == "__main__":
    main()
