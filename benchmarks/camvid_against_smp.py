"""CamVid, side by side: our ResUNet and segmentation_models_pytorch's Unet for the same time in one run.

Both get the same data, augmentation, weights, loss, optimiser and schedule, those of `configs/seg_resunet_camvid.yaml`;
each trains for as many epochs as fit into the time, by steps that are timed in turns beforehand.

    python benchmarks/camvid_against_smp.py --root CAMVID --weights resnet18_pqf_in1k.npz --minutes 20
"""

import argparse
import json
import tempfile
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
import yaml
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor, nn
from torch.nn import functional as F

from resvision.backbones import create_backbone
from resvision.data import MaskFolder
from resvision.data.pairing import Folders
from resvision.layers import InputNormalization
from resvision.tasks import SegmentationTask

CONFIG = Path(__file__).parents[1] / "configs" / "seg_resunet_camvid.yaml"
EVERY = 5  # epochs between two validations, by the config; the last epoch has one


class Clock(Callback):
    """Times the training steps, and the whole fit."""

    def __init__(self) -> None:
        self.steps: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self._start = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        self.steps.append(time.perf_counter() - self._start)


class Padded(nn.Module):
    """Gives a network pictures whose sides are multiples of 32, as SMP recommends: it stretches other ones."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        logits: Tensor = self.network(F.pad(images, (0, -width % 32, 0, -height % 32)))
        return logits[..., :height, :width]


def smp_network(weights: str, num_classes: int) -> nn.Module:
    """Build SMP's Unet on a ResNet-18 with our weights, behind the same normalisation."""
    backbone = create_backbone("resnet18", weights=weights)
    unet = smp.Unet("resnet18", encoder_weights=None, classes=num_classes)
    unet.encoder.load_state_dict(backbone.state_dict())  # strict: it raises if a name differs
    # The names that a task looks for.
    return nn.Sequential(OrderedDict(normalization=InputNormalization(backbone.input_statistics), network=Padded(unet)))


def build(contender: str, options: argparse.Namespace) -> tuple[SegmentationTask, MaskFolder, dict[str, Any]]:
    """Build a contender by the shipped config."""
    said = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    seed_everything(options.seed)
    arguments = {**said["data"]["init_args"], "root": options.root, "seed": options.seed}
    for split in ("train", "val", "test"):
        arguments[split] = Folders(**arguments[split])
    data = MaskFolder(**arguments)
    settings = {**said["model"]["init_args"], "weights": options.weights}
    task = SegmentationTask(class_names=list(data.class_names), **settings)
    if contender == "smp":
        network = smp_network(options.weights, data.num_classes)
        task.model = network.to(memory_format=torch.channels_last)  # type: ignore[assignment]
    return task, data, said["trainer"]


def trainer_for(said: dict[str, Any], folder: str, **settings: Any) -> Trainer:
    kept = {key: value for key, value in said.items() if key != "max_epochs"}
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
    validation = (time.perf_counter() - start) / EVERY
    return steps[len(steps) // 2] * len(data.train_dataloader()) + validation


def race(contender: str, epochs: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one contender and score its best epoch on the test split."""
    with tempfile.TemporaryDirectory() as folder:
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
    parser.add_argument("--contenders", nargs="+", default=["resvision", "smp"])
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {contender: [] for contender in options.contenders}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(3):  # in turns, so that whatever else the machine does falls on both
            for contender, measured in seconds.items():
                measured.append(seconds_an_epoch(contender, options, folder))
    print(json.dumps({"seconds_an_epoch": seconds}), flush=True)
    for contender, measured in seconds.items():
        epochs = max(EVERY, round(options.minutes * 60 / sorted(measured)[1] / EVERY) * EVERY)
        print(json.dumps(race(contender, epochs, options)), flush=True)


if __name__ == "__main__":
    main()
