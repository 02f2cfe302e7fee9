"""BCCD, side by side: our detector and torchvision's FCOS for the same steps in one run.

Both get the same data, augmentation, order, backbone, weights, optimiser and schedule, those of
`configs/det_bccd.yaml`; pyramid and head are each one's own. Pictures a second are of training steps timed in turns.

    python benchmarks/bccd_against_torchvision.py --root BCCD --weights resnet18_pqf_in1k.npz --epochs 20
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from resvision.callbacks import WeightEMA
from resvision.data import VocDetection
from resvision.tasks import DetectionTask

CONFIG = Path(__file__).parents[1] / "configs" / "det_bccd.yaml"
CONTENDERS = {"resvision": "detector", "torchvision": "fcos"}
WARM_UP = 3  # steps that are not counted


class Clock(Callback):
    """Times the training steps."""

    def __init__(self) -> None:
        self.steps: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self._start = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        self.steps.append(time.perf_counter() - self._start)


def build(contender: str, options: argparse.Namespace) -> tuple[DetectionTask, VocDetection, dict[str, Any]]:
    """Build a contender by the shipped config."""
    said = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    seed_everything(options.seed)
    data = VocDetection(**{**said["data"]["init_args"], "root": options.root, "seed": options.seed})
    settings = {**said["model"]["init_args"], "weights": options.weights, "model": CONTENDERS[contender]}
    chosen = settings.pop("optimizer")["init_args"]
    task = DetectionTask(
        class_names=list(data.class_names),
        **settings,
        input_size=data.image_size,
        optimizer=lambda parameters: torch.optim.AdamW(parameters, **chosen),
    )
    return task, data, said["trainer"]


def trainer_for(said: dict[str, Any], folder: str, **settings: Any) -> Trainer:
    kept = {key: value for key, value in said.items() if key not in ("max_epochs", "callbacks")}
    return Trainer(**{**kept, "logger": False, "default_root_dir": folder, "enable_model_summary": False, **settings})


def pictures_a_second(contender: str, options: argparse.Namespace, folder: str) -> float:
    """Time some training steps."""
    task, data, said = build(contender, options)
    clock = Clock()
    trainer = trainer_for(
        said, folder, max_steps=WARM_UP + options.steps, limit_val_batches=0, callbacks=[clock],
        enable_checkpointing=False, enable_progress_bar=False,
    )  # fmt: skip
    trainer.fit(task, data)
    steps = sorted(clock.steps[WARM_UP:])
    return round(data.batch_size / steps[len(steps) // 2], 3)


def race(contender: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train one contender and score its best epoch on the test split."""
    with tempfile.TemporaryDirectory() as folder:
        task, data, said = build(contender, options)
        best = ModelCheckpoint(folder, monitor=task.monitor, mode=task.mode)
        average = WeightEMA(**said["callbacks"][0]["init_args"])
        trainer = trainer_for(said, folder, max_epochs=options.epochs, callbacks=[average, best])
        start = time.perf_counter()
        trainer.fit(task, data)
        seconds = time.perf_counter() - start
        (scores,) = trainer.test(task, data, ckpt_path=best.best_model_path, weights_only=True, verbose=False)
        result = {"contender": contender, "epochs": options.epochs, "minutes": round(seconds / 60, 1)}
        names = ("map", "map_50", "map_75", "ap/RBC", "ap/WBC", "ap/Platelets")
        return result | {name: round(scores[f"test/{name}"], 4) for name in names} | {"seed": options.seed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder of BCCD")
    parser.add_argument("--weights", required=True, help="ImageNet weights of a ResNet-18")
    parser.add_argument("--epochs", type=int, default=20, help="of each, a multiple of 5; 0 measures the speed alone")
    parser.add_argument("--steps", type=int, default=12, help="steps that are timed at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--contenders", nargs="+", default=[*CONTENDERS], choices=[*CONTENDERS])
    options = parser.parse_args()
    speed: dict[str, list[float]] = {contender: [] for contender in options.contenders}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(3):  # in turns, so that whatever else the machine does falls on both
            for contender, measured in speed.items():
                measured.append(pictures_a_second(contender, options, folder))
    print(json.dumps({"pictures_a_second": speed}), flush=True)
    for contender in options.contenders if options.epochs else ():
        print(json.dumps(race(contender, options)), flush=True)


if __name__ == "__main__":
    main()
