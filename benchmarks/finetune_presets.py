"""The presets of fine-tuning, and training from random numbers, on several small sets and seeds.

Each run is that of `configs/cls_finetune.yaml` on a smaller network: only the preset and the set change. A seed chooses
the pictures too, so the spread is that of both. A run is one line in the file of `--results`; what stands there is not
run again, so that the benchmark can be stopped and called again, and tables of several calls come together.

    python benchmarks/finetune_presets.py --root SHARED_DATA --weights SHARED_DATA/weights/resnet18_pqf_in1k.npz
    python benchmarks/finetune_presets.py ... --ways full gradual 'full:{"batch_norm": "fixed"}' --sets orl
"""

import argparse
import contextlib
import gzip
import json
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from zipfile import ZipFile

import numpy as np
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from torch.optim import AdamW

from resvision.callbacks import ExactResume
from resvision.data import ImageFolder
from resvision.tasks import ClassificationTask
from resvision.tasks.finetuning import FineTune

Pictures = dict[str, dict[str, list[bytes]]]  # by split and class, each the bytes of a file

# The sets


def cifar10(root: Path, count: int, draw: random.Random) -> Pictures:
    """Draw `count` training pictures a class, a quarter as many to validate, and take the 1,000 test pictures."""
    folder = root / "cifar10"
    names: dict[str, list[tuple[Path, str]]] = defaultdict(list)
    for archive in sorted(folder.glob("train_*.zip")):
        with ZipFile(archive) as files:
            for name in files.namelist():
                if not name.endswith("/"):
                    names[name.split("/")[-2]].append((archive, name))
    pictures: Pictures = {"train": {}, "val": {}, "test": defaultdict(list)}
    for label, found in sorted(names.items()):
        drawn = [_member(*place) for place in draw.sample(found, count + max(1, count // 4))]
        pictures["train"][label], pictures["val"][label] = drawn[:count], drawn[count:]
    with ZipFile(folder / "test_1000.zip") as files:
        for name in files.namelist():
            if not name.endswith("/"):
                pictures["test"][name.split("/")[-2]].append(files.read(name))
    return pictures


def mnist(root: Path, count: int, draw: random.Random) -> Pictures:
    """Draw `count` training digits a class, a quarter as many to validate, and 100 a class of the test split."""
    pictures: Pictures = {"train": {}, "val": {}, "test": {}}
    held = max(1, count // 4)
    for kind, numbers in (("train", count + held), ("t10k", 100)):
        images = _idx(root / "mnist/MNIST/raw" / f"{kind}-images-idx3-ubyte", 16).reshape(-1, 28, 28)
        labels = _idx(root / "mnist/MNIST/raw" / f"{kind}-labels-idx1-ubyte", 8)
        for label in range(10):
            drawn = [_png(images[i]) for i in draw.sample(np.flatnonzero(labels == label).tolist(), numbers)]
            if kind == "train":
                pictures["train"][str(label)], pictures["val"][str(label)] = drawn[:count], drawn[count:]
            else:
                pictures["test"][str(label)] = drawn
    return pictures


def orl(root: Path, count: int, draw: random.Random) -> Pictures:
    """Draw `count` photos of each of 40 people, at most 6, two to validate, and two for the test."""
    pictures: Pictures = {"train": {}, "val": {}, "test": {}}
    for person in sorted((root / "orl_faces").glob("*/s*")):
        photos = [path.read_bytes() for path in sorted(person.glob("*.pgm"))]
        draw.shuffle(photos)
        parts = photos[4 : 4 + min(count, 6)], photos[:2], photos[2:4]
        for split, part in zip(pictures, parts, strict=True):
            pictures[split][person.name] = part
    return pictures


SETS: dict[str, Callable[[Path, int, random.Random], Pictures]] = {"cifar10": cifar10, "mnist": mnist, "orl": orl}


def _member(archive: Path, name: str) -> bytes:
    with ZipFile(archive) as files:
        return files.read(name)


def _idx(path: Path, header: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    packed = path.with_name(f"{path.name}.gz")
    data = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    return np.frombuffer(data, np.uint8, offset=header)


def _png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def folder_of(pictures: Pictures) -> Iterator[str]:
    """Write the pictures as folders of classes."""
    with tempfile.TemporaryDirectory() as folder:
        for split, classes in pictures.items():
            for label, files in classes.items():
                place = Path(folder, split, label)
                place.mkdir(parents=True)
                for number, data in enumerate(files):
                    # The ending is one that is read; the kind of file is told by its first bytes.
                    (place / f"{number:04d}.png").write_bytes(data)
        yield folder


# The runs


def parse_way(way: str) -> FineTune:
    """Return what the task is told: `scratch`, a preset, or `<preset>:{changes as JSON}`."""
    preset, _, changes = way.partition(":")
    if preset == "scratch":
        return None
    return cast(FineTune, {"preset": preset, **(json.loads(changes) if changes else {})})


def run(options: argparse.Namespace, set_name: str, count: int, way: str, seed: int) -> dict[str, Any]:
    """Train once, and score the epoch that validation chose on the test split."""
    pictures = SETS[set_name](options.root, count, random.Random(seed))
    seed_everything(seed, verbose=False)
    finetune = parse_way(way)
    with folder_of(pictures) as root, tempfile.TemporaryDirectory() as folder:
        data = ImageFolder(root, image_size=options.image_size, seed=seed, batch_size=options.batch_size)
        task = ClassificationTask(
            list(data.class_names),
            backbone=options.backbone,
            weights=None if finetune is None else options.weights,
            finetune=finetune,
            label_smoothing=0.1,
            optimizer=lambda groups: AdamW(groups, lr=options.lr, weight_decay=0.05),
        )
        best = ModelCheckpoint(folder, monitor=task.monitor, mode=task.mode)
        trainer = Trainer(
            max_epochs=options.epochs, precision=options.precision, callbacks=[best, ExactResume(seed)], logger=False,
            default_root_dir=folder, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        start = time.perf_counter()
        trainer.fit(task, data)
        seconds = time.perf_counter() - start
        (scores,) = trainer.test(task, data, ckpt_path=best.best_model_path, weights_only=True, verbose=False)
        assert best.best_model_score is not None
        return {"val": float(best.best_model_score), "test": scores["test/accuracy"], "seconds": round(seconds)}


def table(rows: list[dict[str, Any]]) -> str:
    """Return mean and standard deviation over the seeds."""
    by_key: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_key[tuple(row[key] for key in ("set", "count", "way", "epochs", "lr", "image_size"))].append(row)
    lines = [
        "| set | pictures a class | way | epochs | lr | size | val accuracy | test accuracy | seeds | seconds a run |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for key, group in by_key.items():
        val, test = (_spread([row[score] for row in group]) for score in ("val", "test"))
        seconds = statistics.fmean(row["seconds"] for row in group)
        lines.append(f"| {' | '.join(map(str, key))} | {val} | {test} | {len(group)} | {seconds:.0f} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.3f} ± {deviation:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder that holds cifar10/, mnist/ and orl_faces/")
    parser.add_argument("--weights", required=True, help="ImageNet weights of the backbone: a file or a name to fetch")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument(
        "--counts", type=int, nargs="+", default=[10], help="training pictures a class; ORL has 6 at most"
    )
    parser.add_argument("--ways", nargs="+", default=["scratch", "head", "gradual", "full"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lr", type=float, default=1e-3, help="of the head")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--image_size", type=int, default=128, help="224 is what the config has")
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--results", type=Path, default=Path("finetune_presets.jsonl"))
    options = parser.parse_args()
    torch.set_float32_matmul_precision("high")
    rows = [json.loads(line) for line in options.results.read_text().splitlines()] if options.results.exists() else []
    with options.results.open("a") as file:
        for seed in options.seeds:
            for set_name in options.sets:
                for count in options.counts:
                    for way in options.ways:
                        key = {
                            "set": set_name, "count": count, "way": way, "seed": seed, "epochs": options.epochs,
                            "lr": options.lr, "batch_size": options.batch_size, "image_size": options.image_size,
                            "backbone": options.backbone, "precision": options.precision,
                        }  # fmt: skip
                        if any(key.items() <= row.items() for row in rows):
                            continue
                        rows.append(key | run(options, set_name, count, way, seed))
                        file.write(json.dumps(rows[-1]) + "\n")
                        file.flush()
                        print(json.dumps(rows[-1]), flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
