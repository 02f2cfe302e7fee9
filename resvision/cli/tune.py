"""The verb `tune`: a learning rate and a batch size for a config, found by trying."""

import argparse
import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.tuner.tuning import Tuner
from PIL import Image

from resvision.callbacks import LearningRateRange
from resvision.cli.curve import draw_curve
from resvision.cli.lightning_cli import VisionCLI, prepare
from resvision.cli.messages import UsageError
from resvision.cli.request import Request
from resvision.cli.run_folder import new_folder

__all__ = ["TuneCLI", "main"]

#: Where results are kept, below the folder in which the command is called.
_TUNINGS = Path("tunings")


def main(verb: str, words: Sequence[str]) -> int:
    """Find a learning rate, or a batch size; write nothing into the config.

    Raises:
        UsageError: There are too few steps, or a run is to be gone on with.
    """
    parser = argparse.ArgumentParser(
        prog=f"resvision {verb}",
        allow_abbrev=False,
        description="Find the learning rate or the batch size of a config by trying. All options of `resvision fit` "
        "are taken too, but for --ckpt_path and --resume. Nothing is changed: what is found is printed, and a plot of "
        "losses by learning rates is kept.",
    )
    parser.add_argument("--find", choices=("lr", "batch_size"), default="lr", help="what to find; default: lr")
    parser.add_argument("--steps", type=int, default=100, help="training steps to try learning rates in; default: 100")
    options, rest = parser.parse_known_args(words)
    if options.steps < LearningRateRange.least_steps:
        raise UsageError(f"--steps must be at least {LearningRateRange.least_steps}, got {options.steps}")
    request = Request.parse(rest)
    if request.ckpt_path is not None or request.resume:
        raise UsageError(
            "tune begins a run and goes on with none: leave out --ckpt_path and --resume, and give the pretrained "
            "weights to begin from by --model.weights"
        )
    prepare()
    TuneCLI(request, find=options.find, steps=options.steps)
    return 0


class TuneCLI(VisionCLI):
    """The command line of `fit`, with a trial in place of the training.

    Args:
        request: The words after the verb; no checkpoint is among them.
        find: `lr` or `batch_size`.
        steps: Steps in which to try learning rates.
    """

    def __init__(self, request: Request, *, find: str, steps: int) -> None:
        self._find = find
        self._range = LearningRateRange(steps)
        super().__init__("fit", request)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Create a trainer that trains for a while, and the folder for all that is written."""
        # Every check of the data comes before the folder is made, and the folder before the search.
        self.datamodule.setup("fit")
        self.model.require_weights()
        self._folder = self.fresh_folder = new_folder(_TUNINGS / self._request.name, self._request.run_dir, "--run_dir")
        kwargs["default_root_dir"] = str(self._folder)
        # Those of the config, which average or change pictures, are part of what is tried.
        callbacks = self.said_callbacks()
        if self._find == "lr":
            callbacks.insert(0, self._range)
            kwargs |= {"max_epochs": -1, "max_steps": self._range.steps}
        kwargs |= {"enable_checkpointing": False, "limit_val_batches": 0, "enable_model_summary": False}
        return super(VisionCLI, self).instantiate_trainer(callbacks=callbacks, logger=False, **kwargs)

    def fit(self, **kwargs: Any) -> None:
        """Try, and say what was found."""
        if self._find == "lr":
            self._find_learning_rate()
        else:
            self._find_batch_size()

    def _find_learning_rate(self) -> None:
        self.model.keep_learning_rate()
        self.trainer.fit(self.model, self.datamodule)
        pairs = list(zip(self._range.rates, self._range.losses, strict=True))
        with (self._folder / "learning_rates.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("learning_rate", "loss"), *pairs])
        # Where no rate stands out, the plot is what a person looks at.
        shown = [(x, y) for x, y in pairs if math.isfinite(y)]
        plot = self._folder / "learning_rates.png"
        try:
            rate = self._range.suggestion()
        except ValueError as error:
            if len(shown) > 1:
                _curve(shown, None).save(plot)
                raise ValueError(f"{error}; the losses are drawn in {plot}") from error
            raise
        _curve(shown, rate).save(plot)
        print(
            f"learning rate: {rate:.2g}, where the loss falls most steeply; "
            f"look at {plot}: half of it or a third is on the safe side\n"
            f"to use it: --model.optimizer.init_args.lr {rate:.2g}"
        )

    def _find_batch_size(self) -> None:
        if self.trainer.strategy.root_device.type == "cpu":
            raise UsageError("a batch size is found by filling the memory of a GPU, and this run is on a CPU")
        found = Tuner(self.trainer).scale_batch_size(self.model, datamodule=self.datamodule, mode="binsearch")
        print(f"batch size: {found}, which fits into the memory\nto use it: --data.batch_size {found}")


def _curve(points: Sequence[tuple[float, float]], mark: float | None) -> Image.Image:
    rates, losses = zip(*points, strict=True)
    return draw_curve(rates, losses, mark=mark, labels=("learning rate", "training loss, smoothed"))
