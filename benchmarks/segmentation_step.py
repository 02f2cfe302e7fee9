"""Training step and inference of our ResUNet against segmentation_models_pytorch's Unet, both on a ResNet-18.

Same pixels, loss, optimiser, precision and memory layout (channels last); the sides take turns. A ratio above 1 means
that ours is faster.

    python benchmarks/segmentation_step.py --precisions fp32 bf16
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Literal

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from resvision.backbones import create_backbone
from resvision.layers import IMAGENET, InputNormalization
from resvision.losses import WeightedSum
from resvision.models import ResUNet

CLASSES = 11
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def networks() -> dict[str, nn.Module]:
    """Build both sides; each normalises raw pixels itself."""
    ours = ResUNet(create_backbone("resnet18"), CLASSES)
    theirs = nn.Sequential(InputNormalization(IMAGENET), smp.Unet("resnet18", encoder_weights=None, classes=CLASSES))
    sides = {"ours": ours, "smp": theirs}
    return {name: net.to(memory_format=torch.channels_last).to(DEVICE) for name, net in sides.items()}


def training_step(network: nn.Module, images: Tensor, masks: Tensor, bf16: bool) -> Callable[[], object]:
    """Return one step: forward, loss, backward, AdamW."""
    network.train()
    loss = WeightedSum({"cross_entropy": 1.0, "dice": 1.0})
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=bf16):
            value = loss(network(images), masks)
        value.backward()
        optimizer.step()

    return step


def inference(network: nn.Module, images: Tensor, masks: Tensor, bf16: bool) -> Callable[[], object]:
    """Return one pass from pixels to classes."""
    network.eval()

    def step() -> Tensor:
        with torch.inference_mode(), torch.autocast(DEVICE.type, torch.bfloat16, enabled=bf16):
            classes: Tensor = network(images).argmax(dim=1)
            return classes

    return step


def now() -> float:
    """Return the time at which everything that was asked for so far is done."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds(step: Callable[[], object], repeats: int) -> float:
    """Return the mean time of a call, on a GPU until it has finished."""
    begin = now()
    for _ in range(repeats):
        step()
    return (now() - begin) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    parser.add_argument("--size", nargs=2, type=int, default=[256, 320], help="height and width")
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3, help="calls of a turn")
    parser.add_argument("--seconds", type=float, default=35, help="for each of the four comparisons")
    options = parser.parse_args()
    height, width = options.size
    pixels = torch.randint(0, 256, (options.batch_size, height, width, 3), dtype=torch.uint8)
    masks = torch.randint(0, CLASSES, (options.batch_size, height, width)).to(DEVICE)
    images = pixels.permute(0, 3, 1, 2).to(DEVICE)
    precision: Literal["fp32", "bf16"]
    for precision in options.precisions:
        for what in (training_step, inference):
            steps = {name: what(net, images, masks, precision == "bf16") for name, net in networks().items()}
            for step in steps.values():
                seconds(step, 2)
            turns: list[dict[str, float]] = []
            begin = time.perf_counter()
            while len(turns) < 3 or time.perf_counter() - begin < options.seconds:
                # Whoever comes second finds the caches as the first one left them, so they swap places.
                order = list(steps)[:: 1 if len(turns) % 2 else -1]
                turns.append({name: seconds(steps[name], options.repeats) for name in order})
            ratio = statistics.median(turn["smp"] / turn["ours"] for turn in turns)
            ours, theirs = (1000 * statistics.median(turn[name] for turn in turns) for name in ("ours", "smp"))
            print(
                f"{what.__name__:>14} {precision} {height}x{width}, batch {options.batch_size}: "
                f"ours {ours:.1f} ms, smp {theirs:.1f} ms, {ratio:.2f} x"
            )


if __name__ == "__main__":
    main()
