"""CamVid, side by side: our ResUNet and segmentation_models_pytorch's Unet for the same time in one run.

Both get the same data, augmentation, weights, loss, optimiser and schedule, those of `configs/seg_resunet_camvid.yaml`;
each trains for as many epochs as fit into the time, which a few timed steps tell beforehand.

    python benchmarks/camvid_against_smp.py --root CAMVID --weights resnet18_pqf_in1k.npz --minutes 20
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
import yaml
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import instantiate_class
from torch import nn

from resvision.backbones import create_backbone
from resvision.data import MaskFolder
from resvision.layers import InputNormalization
from resvision.tasks import SegmentationTask

CONFIG = Path(__file__).parents[1] / "configs" / "seg_resunet_camvid.yaml"


class Clock(Callback):
    """Times the training steps, and the whole fit."""

    def __init__(self) -> None:
        self.steps: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self._start = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        self.steps.append(time.perf_counter() - self._start)


def smp_network(weights: str, num_classes: int) -> nn.Module:
    """Build SMP's Unet on a ResNet-18 with our weights, behind the same normalisation."""
    backbone = create_backbone("resnet18", weights=weights)
    unet = smp.Unet("resnet18", encoder_weights=None, classes=num_classes)
    missing, unexpected = unet.encoder.load_state_dict(backbone.state_dict(), strict=False)
    assert not missing, missing
    assert not unexpected, unexpected
    return nn.Sequential(InputNormalization(backbone.input_statistics), unet)


def build(contender: str, options: argparse.Namespace) -> tuple[SegmentationTask, MaskFolder, dict[str, Any]]:
    """Build a contender by the shipped config."""
    said = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    seed_everything(options.seed)
    data = MaskFolder(**{**said["data"]["init_args"], "root": options.root, "seed": options.seed})
    settings = {**said["model"]["init_args"], "weights": options.weights}
    optimizer = settings.pop("optimizer", None)
    if optimizer is not None:
        settings["optimizer"] = lambda groups: instantiate_class(groups, optimizer)
    task = SegmentationTask(class_names=list(data.class_names), **settings)
    if contender == "smp":
        network = smp_network(options.weights, data.num_classes)
        task.model = network.to(memory_format=torch.channels_last)  # type: ignore[assignment]
    return task, data, said["trainer"]


def trainer_for(said: dict[str, Any], folder: str, **settings: Any) -> Trainer:
    kept = {key: value for key, value in said.items() if key not in ("max_epochs", "callbacks")}
    return Trainer(**{**kept, "logger": False, "default_root_dir": folder, "enable_model_summary": False, **settings})


def seconds_an_epoch(contender: str, options: argparse.Namespace, folder: str) -> float:
    """Time some steps and a validation pass."""
    task, data, said = build(contender, options)
    clock = Clock()
    trainer = trainer_for(
        said, folder, max_epochs=1, limit_train_batches=16, limit_val_batches=0, callbacks=[clock],
        enable_checkpointing=False, enable_progress_bar=False,
    )  # fmt: skip
    trainer.fit(task, data)
    steps = sorted(clock.steps[4:])
    start = time.perf_counter()
    trainer.validate(task, data, verbose=False)
    validation = time.perf_counter() - start
    return steps[len(steps) // 2] * len(data.train_dataloader()) + validation


def race(contender: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train one contender for the time and score its best epoch on the test split."""
    with tempfile.TemporaryDirectory() as folder:
        epochs = max(1, round(options.minutes * 60 / seconds_an_epoch(contender, options, folder)))
        task, data, said = build(contender, options)
        best = ModelCheckpoint(folder, monitor=task.monitor, mode=task.mode)
        trainer = trainer_for(said, folder, max_epochs=epochs, callbacks=[best])
        start = time.perf_counter()
        trainer.fit(task, data)
        seconds = time.perf_counter() - start
        (scores,) = trainer.test(task, data, ckpt_path=best.best_model_path, weights_only=True, verbose=False)
        assert best.best_model_score is not None
        return {
            "contender": contender,
            "epochs": epochs,
            "minutes": round(seconds / 60, 1),
            "val_miou": round(float(best.best_model_score), 4),
            "test_miou": round(scores["test/miou"], 4),
            "test_pixel_accuracy": round(scores["test/pixel_accuracy"], 4),
            "seed": options.seed,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder of CamVid")
    parser.add_argument("--weights", required=True, help="ImageNet weights of a ResNet-18")
    parser.add_argument("--minutes", type=float, default=20, help="training time of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--contenders", nargs="+", default=["smp", "resvision"])
    options = parser.parse_args()
    for contender in options.contenders:
        print(json.dumps(race(contender, options)), flush=True)


if __name__ == "__main__":
    main()
