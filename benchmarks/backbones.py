"""Our backbones against timm's and torchvision's own, in one process: `python benchmarks/backbones.py`.

Prints ratios, theirs / ours in time per step: 1.00 is as fast, more is faster. The two networks take turns step by
step, so that what else the machine does slows both alike, and medians are compared; on a CPU the time is that of the
process, on one thread. Both networks pool and classify; ours returns every feature besides.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import timm
import torch
from timm.models.resnet import BasicBlock, downsample_conv
from torch import Tensor, nn
from torchvision.models import get_model

from resvision import create_backbone
from resvision.backbones import BackboneOptions, get_entry

NAMES = ("resnet18", "resnet50", "resnet152", "resnext50_32x4d", "resnet50d", "cifar_resnet56")


class Ours(nn.Module):
    """Our backbone under the pooling and the classifier that theirs have."""

    def __init__(self, name: str) -> None:
        super().__init__()
        options: BackboneOptions = {"shortcut": "projection"} if name.startswith("cifar") else {}
        self.backbone = create_backbone(name, **options)
        self.fc = nn.Linear(list(self.backbone.feature_specs.values())[-1].channels, 1000)

    def forward(self, images: Tensor) -> Tensor:
        """Classify (N, 3, H, W)."""
        *_, deepest = self.backbone(images).values()
        scores: Tensor = self.fc(deepest.mean((2, 3)))
        return scores


def timm_cifar(blocks: int) -> nn.Module:
    """Stack timm's blocks into a CIFAR ResNet, of which timm has none."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    channels = 16
    for width in (16, 32, 64):
        for _ in range(blocks):
            stride = 1 if width == channels else 2
            down = None if width == channels else downsample_conv(channels, width, 1, stride)
            layers.append(BasicBlock(channels, width, stride, down))
            channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1000))


def seconds(step: Callable[[], None], device: torch.device) -> float:
    if device.type == "cpu":
        start = time.process_time()
        step()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def training_step(model: nn.Module, images: Tensor, dtype: torch.dtype) -> Callable[[], None]:
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
            loss = model(images).float().logsumexp(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def inference(model: nn.Module, images: Tensor, dtype: torch.dtype) -> Callable[[], None]:
    model.eval()

    def step() -> None:
        with torch.inference_mode(), torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
            model(images)

    return step


def ratio(ours: Callable[[], None], theirs: Callable[[], None], steps: int, device: torch.device) -> float:
    """Return the median time of theirs over that of ours, taking turns; the first three steps warm up."""
    own: list[float] = []
    other: list[float] = []
    for turn in range(steps + 3):
        # Whoever comes second finds the caches as the first one left them, so they swap places.
        for step, times in ((ours, own), (theirs, other))[:: 1 if turn % 2 else -1]:
            times.append(seconds(step, device))
    return statistics.median(other[3:]) / statistics.median(own[3:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {device}, batch {arguments.batch}, side {arguments.size}")
    for name in arguments.names:
        build(name)
        for reference in get_entry(name).references or ("timm's blocks",):
            for dtype_name in arguments.dtypes:
                for layout in (torch.contiguous_format, torch.channels_last):
                    report(name, reference, getattr(torch, dtype_name), layout, arguments, device)


def build(name: str) -> None:
    """Print how long building takes timm against us, random weights and classifier included."""
    model = get_entry(name).reference_in("timm")
    if model is not None:
        cpu = torch.device("cpu")
        result = ratio(lambda: void(Ours(name)), lambda: void(timm.create_model(model)), 5, cpu)
        print(f"{name:16} building {result:.2f}", flush=True)


def void(_: object) -> None:
    """Take what was built, and drop it."""


def report(
    name: str,
    reference: str,
    dtype: torch.dtype,
    memory_format: torch.memory_format,
    arguments: argparse.Namespace,
    device: torch.device,
) -> None:
    library, _, model = reference.partition("/")
    size = arguments.size
    if name == "cifar_resnet56":
        size, theirs = 32, timm_cifar(9)
    else:
        theirs = timm.create_model(model) if library == "timm" else get_model(model, weights=None)
    images = torch.randn(arguments.batch, 3, size, size, device=device).to(memory_format=memory_format)
    own = Ours(name).to(device, memory_format=memory_format)  # type: ignore[call-overload]
    other = theirs.to(device, memory_format=memory_format)  # type: ignore[call-overload]
    steps = arguments.steps
    training = ratio(training_step(own, images, dtype), training_step(other, images, dtype), steps, device)
    # A step's closure switches the mode when it is made, so training must be over.
    evaluation = ratio(inference(own, images, dtype), inference(other, images, dtype), steps, device)
    print(
        f"{name:16} {reference:28} {str(dtype).removeprefix('torch.'):9} {str(memory_format).removeprefix('torch.'):18}"
        f" training {training:.2f} inference {evaluation:.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
