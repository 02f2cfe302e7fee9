"""The verb `replay`: the batch at which a run's loss was not finite, once more and layer by layer."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from resvision.cli.lightning_cli import VisionCLI, prepare
from resvision.cli.origin import newest_good
from resvision.cli.request import Request
from resvision.cli.run_folder import RUNS
from resvision.data.seeding import fold

__all__ = ["ReplayCLI", "main"]


def main(verb: str, words: Sequence[str]) -> int:
    """Replay the batch that a run has kept."""
    parser = argparse.ArgumentParser(
        prog=f"resvision {verb}",
        allow_abbrev=False,
        description="Give the model the batch at which the loss of a run was not finite, with the newest weights that "
        "were saved, on the CPU in 32 bit; say where the first number comes from that is not finite.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    run: Path = parser.parse_args(words).run
    if not (run / "config.yaml").is_file():
        raise FileNotFoundError(f"there is no run in {run}; give a run folder, such as {RUNS / 'seg_resunet' / '1'}")
    kept = run / "nonfinite"
    if not (kept / "report.json").is_file():
        raise FileNotFoundError(f"{run} keeps no batch to replay: no loss of it was found that is not finite")
    report = json.loads((kept / "report.json").read_text(encoding="utf-8"))
    batch = torch.load(kept / "batch.pt", map_location="cpu", weights_only=True)
    prepare()
    ReplayCLI(run, report, batch)
    return 0


class ReplayCLI(VisionCLI):
    """The command line of `fit`, with one batch in place of the training.

    Args:
        run: The run folder.
        report: What is known of the step.
        batch: Its batch.
    """

    def __init__(self, run: Path, report: Mapping[str, Any], batch: Any) -> None:
        self._report = report
        self._batch = batch
        checkpoint = newest_good(run, print)
        words = ["--config", str(run / "config.yaml")]
        super().__init__(
            "fit", Request.parse(words if checkpoint is None else [*words, "--ckpt_path", str(checkpoint)])
        )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Create a trainer that is not used; the data itself is not needed either."""
        return Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)

    def fit(self, **kwargs: Any) -> None:
        """Compute the loss and its gradients, and say what is found."""
        said, model = self._report, self.model
        print(f"{said['what']}; the loss was {said['loss']}")
        for name in said["files"]:
            print(f"  {name}")
        image = self._batch["image"]
        low, high = image.float().aminmax()  # torch compares no 16-bit integers
        print(f"pixels: {tuple(image.shape)}, {image.dtype}, from {low.item():g} to {high.item():g}")
        origin = "the first weights of the run"
        if self._checkpoint is not None:
            checkpoint = torch.load(self._checkpoint, map_location="cpu", weights_only=True)
            # Beside an average of the weights are those that were trained.
            model.load_state_dict(checkpoint.get("current_state_dict", checkpoint["state_dict"]))
            origin = f"the weights of {self._checkpoint}, after step {checkpoint['global_step']}"
        torch.default_generator.manual_seed(fold(said["seed"], "step", said["number"], said["rank"]))
        model.train()
        # What is frozen depends on the epoch, which the task asks its trainer for.
        model.trainer = self.trainer
        self.trainer.fit_loop.epoch_progress.current.completed = said["epoch"]
        model.on_train_epoch_start()
        with _first_non_finite(model) as found:
            loss = model.training_loss(self._batch)
            loss.backward()  # type: ignore[no-untyped-call]
        print(f"\nwith {origin}: the loss is {loss.item()}")
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        bad = [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
        if found:
            print(f"the first result that is not finite is that of {found[0]}")
        if bad:
            print(f"gradients that are not finite: {len(bad)} of {len(gradients)}, such as {bad[0]}")
        if not found and not bad and loss.isfinite():
            print("nothing is wrong with the pictures: the steps after these weights made them diverge. A lower")
            print("learning rate, a longer warm-up or trainer.gradient_clip_val help")


@contextmanager
def _first_non_finite(model: nn.Module) -> Iterator[list[str]]:
    """Note the layers whose results are not finite, in the order of their computation."""
    found: list[str] = []

    def note(name: str) -> Any:
        def look(module: nn.Module, inputs: Any, result: Any) -> None:
            if isinstance(result, Tensor) and not result.isfinite().all():
                found.append(f"{name} ({type(module).__name__})")

        return look

    hooks = [module.register_forward_hook(note(name)) for name, module in model.named_modules()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
