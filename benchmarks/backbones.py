"""Our backbones against timm's own: training step, inference, building and listing.

    python benchmarks/backbones.py
    python benchmarks/backbones.py --only resnet50 --seconds 60

A ratio is the time of theirs over that of ours: 1.00 is as fast, more is faster. The two sides take turns, and swap
places from turn to turn, so that whatever else the machine does falls on both; a ratio is taken within each turn, and
what is printed is the median over the turns with its 95 % confidence interval. On a CPU the time is that of the
process, on one thread. Both networks end with pooling and a classifier.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from statistics import median
from typing import NamedTuple

import timm
import torch
from timm.models.resnet import BasicBlock, downsample_conv
from torch import Tensor, nn

from resvision import create_backbone
from resvision.backbones import BackboneOptions

NAMES = ("resnet18", "resnet50", "resnet152", "resnext50_32x4d", "resnet50d", "cifar_resnet56")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LEAST_TURNS = 7


class Ratio(NamedTuple):
    """Time of theirs over that of ours: the median over the turns, and where it lies with 95 % confidence."""

    median: float
    low: float
    high: float
    turns: int

    def __str__(self) -> str:
        return f"{self.median:5.3f}  ({self.low:.3f} to {self.high:.3f}, {self.turns} turns)"


class Ours(nn.Module):
    """Our backbone under the pooling and the classifier that theirs have."""

    def __init__(self, name: str) -> None:
        super().__init__()
        options: BackboneOptions = {"shortcut": "projection"} if name.startswith("cifar") else {}
        # The others would be kept until the end of the pass, as theirs are not.
        self.backbone = create_backbone(name, out_features=["stage3" if options else "stage4"], **options)
        (spec,) = self.backbone.feature_specs.values()
        self.fc = nn.Linear(spec.channels, 1000)

    def forward(self, images: Tensor) -> Tensor:
        """Classify (N, 3, H, W)."""
        (deepest,) = self.backbone(images).values()
        scores: Tensor = self.fc(deepest.mean((2, 3)))
        return scores


def timm_cifar(blocks: int) -> nn.Module:
    """Stack timm's blocks into a CIFAR ResNet with projections, of which timm has none."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    channels = 16
    for width in (16, 32, 64):
        for _ in range(blocks):
            stride = 1 if width == channels else 2
            down = None if width == channels else downsample_conv(channels, width, 1, stride)
            layers.append(BasicBlock(channels, width, stride, down))
            channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1000))


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


def compare(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    seconds: float,
    clock: Callable[[Callable[[], object]], float] = process_seconds,
) -> Ratio:
    """Let both sides take turns for about so many seconds, and at least `LEAST_TURNS` times; the first two warm up."""
    ratios: list[float] = []
    begin = time.perf_counter()
    while len(ratios) < LEAST_TURNS + 2 or time.perf_counter() - begin < seconds:
        # Whoever comes second finds the caches as the first one left them.
        if len(ratios) % 2:
            own, other = clock(ours), clock(theirs)
        else:
            other, own = clock(theirs), clock(ours)
        ratios.append(other / own)
    ordered = sorted(ratios[2:])
    # The median lies between two order statistics with a probability that the binomial distribution gives.
    outside = max(0, int(len(ordered) / 2 - 0.98 * len(ordered) ** 0.5))
    return Ratio(median(ordered), ordered[outside], ordered[-1 - outside], len(ordered))


def steps_of(name: str, seconds: float, batch: int, size: int) -> Iterator[tuple[str, Ratio]]:
    """Yield what was compared, and the ratio: each precision, memory layout and mode of one network."""
    small = name.startswith("cifar")
    ours, theirs = Ours(name), timm_cifar(9) if small else timm.create_model(name)
    # As much work for one convolution as with the larger pictures, or calls from Python would be all there is.
    shape = (8 * batch, 3, 32, 32) if small else (batch, 3, size, size)
    for precision, layout in product(PRECISIONS, LAYOUTS):
        images = torch.randn(shape, device=DEVICE).to(memory_format=LAYOUTS[layout])
        sides = [
            model.to(DEVICE, memory_format=LAYOUTS[layout])  # type: ignore[call-overload]
            for model in (ours, theirs)
        ]
        for mode in (training_step, inference):
            own, other = (mode(side, images, PRECISIONS[precision]) for side in sides)
            yield f"{mode.__name__:14} {precision} {layout}", compare(own, other, seconds)


def listing() -> Ratio:
    """Compare new processes that print the names of all networks."""
    own = [sys.executable, "-m", "resvision", "backbones", "list"]
    other = [sys.executable, "-c", "import timm; print(timm.list_models())"]
    ours, theirs = (
        lambda words=words: subprocess.run(words, check=True, capture_output=True) for words in (own, other)
    )
    print(f"{'backbones list':16} {'wall time':34} {wall_seconds(ours):.2f} s, timm {wall_seconds(theirs):.2f} s")
    return compare(ours, theirs, 0, wall_seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help="some of the networks")
    parser.add_argument("--seconds", type=float, default=11, help="for each of the 48 comparisons")
    parser.add_argument("--batch", type=int, default=2, help="pictures in a batch; 8 times as many of CIFAR's size")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures; CIFAR's are 32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, timm {timm.__version__}, {DEVICE}, batch {options.batch}, side {options.size}")
    print(f"{'network':16} {'what':34} theirs / ours")
    print(f"{'all':16} {'backbones list':34} {listing()}", flush=True)
    building = compare(
        lambda: create_backbone("resnet152"), lambda: timm.create_model("resnet152", num_classes=0), options.seconds
    )
    print(f"{'resnet152':16} {'building, no classifier':34} {building}", flush=True)
    ratios: list[float] = []
    for name in options.only:
        for what, ratio in steps_of(name, options.seconds, options.batch, options.size):
            print(f"{name:16} {what:34} {ratio}", flush=True)
            ratios.append(ratio.median)
    print(f"{len(ratios)} medians: the lowest {min(ratios):.3f}, the middle one {median(ratios):.3f}")


if __name__ == "__main__":
    main()
