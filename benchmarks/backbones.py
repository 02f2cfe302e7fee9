"""Our backbones against timm's or torchvision's own: training step, inference, building and listing.

    python benchmarks/backbones.py
    python benchmarks/backbones.py --only resnet50 --seconds 60
    python benchmarks/backbones.py --against torchvision --only resnet18 resnet50

A ratio is the time of theirs over that of ours: 1.00 is as fast, more is faster. The two sides take turns, and swap
places from turn to turn, so that whatever else the machine does falls on both. Where a network happens to lie in memory
makes it up to 3 % faster or slower than its own copy, so both are built anew in each of six rounds; what is printed is
the median of the rounds with its 95 % confidence interval, from the lowest round to the highest. On a CPU the time is
that of the process, on one thread. Both networks end with pooling and a classifier.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from statistics import median
from typing import NamedTuple

import timm
import torch
import torchvision
from timm.models.resnet import BasicBlock, downsample_conv
from torch import Tensor, nn

from resvision import create_backbone

NAMES = ("resnet18", "resnet50", "resnet152", "resnext50_32x4d", "resnet50d", "cifar_resnet56")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ROUNDS = 6


class Ratio(NamedTuple):
    """Time of theirs over that of ours: the median of several measurements, and where it lies with 95 % confidence."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, measured: Sequence[float]) -> "Ratio":
        """Take the interval between the order statistics that the binomial distribution gives."""
        ordered = sorted(measured)
        outside = max(0, int(len(ordered) / 2 - 0.98 * len(ordered) ** 0.5))
        return cls(median(ordered), ordered[outside], ordered[-1 - outside])

    def __str__(self) -> str:
        return f"{self.median:6.3f}  ({self.low:.3f} to {self.high:.3f})"


class Ours(nn.Module):
    """Our backbone under the pooling and the classifier that theirs have."""

    def __init__(self, name: str) -> None:
        super().__init__()
        # Other features would be kept until the end of the pass, as theirs are not.
        if name.startswith("cifar"):
            self.backbone = create_backbone(name, shortcut="projection", out_features=["stage3"])
        else:
            self.backbone = create_backbone(name, out_features=["stage4"])
        (spec,) = self.backbone.feature_specs.values()
        self.fc = nn.Linear(spec.channels, 1000)

    def forward(self, images: Tensor) -> Tensor:
        """Classify (N, 3, H, W)."""
        (deepest,) = self.backbone(images).values()
        scores: Tensor = self.fc(deepest.mean((2, 3)))
        return scores


def timm_network(name: str) -> nn.Module:
    """Build timm's, or stack its blocks into a CIFAR ResNet with projections, of which it has none."""
    if not name.startswith("cifar"):
        model: nn.Module = timm.create_model(name)
        return model
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    channels = 16
    for width in (16, 32, 64):
        for _ in range((int(name.removeprefix("cifar_resnet")) - 2) // 6):
            stride = 1 if width == channels else 2
            down = None if width == channels else downsample_conv(channels, width, 1, stride)
            layers.append(BasicBlock(channels, width, stride, down))
            channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1000))


def torchvision_network(name: str) -> nn.Module:
    """Build torchvision's."""
    model: nn.Module = torchvision.models.get_model(name)
    return model


THEIRS = {"timm": timm_network, "torchvision": torchvision_network}


def training_step(model: nn.Module, images: Tensor, dtype: torch.dtype) -> Callable[[], object]:
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
            loss = model(images).float().logsumexp(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def inference(model: nn.Module, images: Tensor, dtype: torch.dtype) -> Callable[[], object]:
    model.eval()

    def step() -> None:
        with torch.inference_mode(), torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
            model(images)

    return step


def process_seconds(step: Callable[[], object]) -> float:
    """Return the time of a call: of this process, or on a GPU until it has finished."""
    if DEVICE.type == "cpu":
        begin = time.process_time()
        step()
        return time.process_time() - begin
    torch.cuda.synchronize()
    begin = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return time.perf_counter() - begin


def wall_seconds(step: Callable[[], object]) -> float:
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def take_turns(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    seconds: float,
    least: int,
    clock: Callable[[Callable[[], object]], float] = process_seconds,
) -> list[float]:
    """Return the ratio of each turn, after one that warms up: about so many seconds of them, and at least so many."""
    ratios: list[float] = []
    begin = time.perf_counter()
    while len(ratios) <= least or time.perf_counter() - begin < seconds:
        # Whoever comes second finds the caches as the first one left them.
        if len(ratios) % 2:
            own, other = clock(ours), clock(theirs)
        else:
            other, own = clock(theirs), clock(ours)
        ratios.append(other / own)
    return ratios[1:]


def networks(name: str, against: str, *, ours_first: bool) -> tuple[nn.Module, nn.Module]:
    if ours_first:
        return Ours(name), THEIRS[against](name)
    theirs = THEIRS[against](name)
    return Ours(name), theirs


def steps_of(name: str, against: str, seconds: float, batch: int, size: int) -> dict[str, Ratio]:
    """Compare one network in each precision, memory layout and mode."""
    # As much work for one convolution as with the larger pictures, or calls from Python would be all there is.
    shape = (8 * batch, 3, 32, 32) if name.startswith("cifar") else (batch, 3, size, size)
    rounds: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        pair = networks(name, against, ours_first=bool(number % 2))
        for (precision, dtype), (layout, memory_format) in product(PRECISIONS.items(), LAYOUTS.items()):
            images = torch.randn(shape, device=DEVICE).to(memory_format=memory_format)
            sides = [side.to(DEVICE, memory_format=memory_format) for side in pair]  # type: ignore[call-overload]
            for mode in (training_step, inference):
                own, other = (mode(side, images, dtype) for side in sides)
                ratios = take_turns(own, other, seconds=seconds / ROUNDS, least=2)
                rounds.setdefault(f"{mode.__name__:14} {precision} {layout}", []).append(median(ratios))
    return {what: Ratio.of(ratios) for what, ratios in rounds.items()}


def building(seconds: float) -> Ratio:
    """Compare building resnet152 with timm's, with random weights, without a classifier."""
    return Ratio.of(
        take_turns(
            lambda: create_backbone("resnet152"),
            lambda: timm.create_model("resnet152", num_classes=0),
            seconds=seconds,
            least=7,
        )
    )


def listing() -> Ratio:
    """Compare new processes that print the names of all networks, and say how long each takes."""

    def run(*words: str) -> None:
        subprocess.run([sys.executable, *words], check=True, capture_output=True)

    ours = partial(run, "-m", "resvision", "backbones", "list")
    theirs = partial(run, "-c", "import timm; print(timm.list_models())")
    ratios = take_turns(ours, theirs, seconds=0, least=7, clock=wall_seconds)
    print(f"{'':16} {'backbones list':34} {wall_seconds(ours):.2f} s, timm {wall_seconds(theirs):.2f} s")
    return Ratio.of(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help="some of the networks")
    parser.add_argument("--against", choices=THEIRS, default="timm", help="whose networks (default: timm's)")
    parser.add_argument("--seconds", type=float, default=11, help="for each of the 48 comparisons")
    parser.add_argument("--batch", type=int, default=2, help="pictures in a batch; 8 times as many of CIFAR's size")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures; CIFAR's are 32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    against: str = options.against
    missing = [
        name for name in options.only if against == "torchvision" and name not in torchvision.models.list_models()
    ]
    if missing:
        parser.error(f"torchvision has no {', '.join(missing)}; name others with --only")
    version = timm.__version__ if against == "timm" else torchvision.__version__
    print(f"torch {torch.__version__}, {against} {version}, {DEVICE}, batch {options.batch}, side {options.size}")
    print(f"{'network':16} {'what':34} theirs / ours")
    if against == "timm":
        print(f"{'':16} {'backbones list':34} {listing()}", flush=True)
        print(f"{'resnet152':16} {'building':34} {building(options.seconds)}", flush=True)
    ratios: list[float] = []
    for name in options.only:
        for what, ratio in steps_of(name, against, options.seconds, options.batch, options.size).items():
            print(f"{name:16} {what:34} {ratio}", flush=True)
            ratios.append(ratio.median)
    print(f"{len(ratios)} medians: the lowest {min(ratios):.3f}, the middle one {median(ratios):.3f}")


if __name__ == "__main__":
    main()
