"""The presets of fine-tuning, and training from random numbers, on several small sets and seeds.

Each run is that of `configs/cls_finetune.yaml` on a smaller network: only the preset and the set change. A seed chooses
the pictures too, so the spread is that of both. A run is one line in the file of `--results`; what stands there is not
run again, so that the benchmark can be stopped and called again, and tables of several calls come together.

    python benchmarks/finetune_presets.py --root SHARED_DATA --weights SHARED_DATA/weights/resnet18_pqf_in1k.npz
    python benchmarks/finetune_presets.py ... --ways full gradual 'full:{"batch_norm": "fixed"}' --sets orl:6
"""

import argparse
import contextlib
import csv
import gzip
import itertools
import json
import logging
import math
import random
import statistics
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree
from zipfile import ZipFile

import numpy as np
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
    with ExitStack() as stack:
        folder = root / "cifar10"
        names: dict[str, list[tuple[ZipFile, str]]] = defaultdict(list)
        for archive in sorted(folder.glob("train_*.zip")):
            for label, place in _members(stack.enter_context(ZipFile(archive))):
                names[label].append(place)
        pictures: Pictures = {"train": {}, "val": {}, "test": defaultdict(list)}
        for label, found in sorted(names.items()):
            drawn = [files.read(name) for files, name in draw.sample(found, count + _held(count))]
            pictures["train"][label], pictures["val"][label] = drawn[:count], drawn[count:]
        for label, (files, name) in _members(stack.enter_context(ZipFile(folder / "test_1000.zip"))):
            pictures["test"][label].append(files.read(name))
        return pictures


def mnist(root: Path, count: int, draw: random.Random) -> Pictures:
    """Draw `count` training digits a class, a quarter as many to validate, and 50 a class of the test split."""
    pictures: Pictures = {"train": {}, "val": {}, "test": {}}
    for kind, numbers in (("train", count + _held(count)), ("t10k", 50)):
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


def bccd(root: Path, count: int, draw: random.Random) -> Pictures:
    """Cut out `count` blood cells of each of three kinds, a quarter as many to validate, and 50 for the test."""
    pictures: Pictures = {"train": {}, "val": {}, "test": {}}
    for split, numbers in (("train", count), ("val", _held(count)), ("test", 50)):
        cells: dict[str, list[tuple[str, tuple[int, int, int, int]]]] = defaultdict(list)
        (folder,) = {path.parent.parent for path in (root / "bccd").rglob("Annotations/*.xml")}
        for name in (folder / f"ImageSets/Main/{split}.txt").read_text().split():
            for cell in ElementTree.parse(folder / f"Annotations/{name}.xml").iter("object"):
                left, top, right, bottom = (int(cell.findtext(f"bndbox/{side}", "0")) for side in _SIDES)
                if left < right and top < bottom:
                    cells[cell.findtext("name", "")].append((name, (left, top, right, bottom)))
        for label, found in sorted(cells.items()):
            pictures[split][label] = []
            for name, box in draw.sample(found, numbers):
                with Image.open(folder / f"JPEGImages/{name}.jpg") as photo:
                    pictures[split][label].append(_png(np.asarray(photo.crop(box))))
    return pictures


def photos(root: Path, count: int, draw: random.Random) -> Pictures:
    """Draw `count` ImageNet photos of each of four kinds, a quarter as many to validate, and at most 50 for the test.

    The network was trained on such photos, as it was for most photos that people take.
    """
    folder = root / "imagenet_samples"
    names: dict[str, list[str]] = defaultdict(list)
    with (folder / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            label = int(row["label"])
            names[next(kind for kind, spans in _KINDS.items() if any(label in span for span in spans))].append(
                row["file"]
            )
    pictures: Pictures = {"train": {}, "val": {}, "test": {}}
    for kind, found in sorted(names.items()):
        draw.shuffle(found)
        drawn = [next(folder.rglob(name)).read_bytes() for name in found[: count + _held(count) + 50]]
        parts = drawn[:count], drawn[count : count + _held(count)], drawn[count + _held(count) :]
        for split, part in zip(pictures, parts, strict=True):
            pictures[split][kind] = part
    return pictures


SETS: dict[str, Callable[[Path, int, random.Random], Pictures]] = {
    "cifar10": cifar10,
    "mnist": mnist,
    "orl": orl,
    "bccd": bccd,
    "photos": photos,
}

# ImageNet's 1,000 numbers, put together.
_KINDS: dict[str, tuple[range, ...]] = {
    "dog": (range(151, 269),),
    "other mammal": (range(101, 107), range(147, 151), range(269, 300), range(330, 389)),
    "other animal": (range(398),),
    "thing": (range(398, 1000),),
}


_SIDES = ("xmin", "ymin", "xmax", "ymax")


def _held(count: int) -> int:
    return max(2, count // 4)


def _members(archive: ZipFile) -> Iterator[tuple[str, tuple[ZipFile, str]]]:
    """Yield the class and the place of each picture of an archive."""
    for name in archive.namelist():
        if not name.endswith("/"):
            yield name.split("/")[-2], (archive, name)


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


def run(options: argparse.Namespace, set_name: str, way: str, seed: int) -> dict[str, Any]:
    """Train once, and score the epoch that validation chose on the test split."""
    name, count = set_name.split(":")
    pictures = SETS[name](options.root, int(count), random.Random(seed))
    seed_everything(seed, verbose=False)
    finetune = parse_way(way)
    with folder_of(pictures) as root, tempfile.TemporaryDirectory() as folder:
        data = ImageFolder(
            root,
            image_size=options.image_size,
            seed=seed,
            min_batches=options.min_batches,
            batch_size=options.batch_size,
        )
        task = ClassificationTask(
            list(data.class_names),
            backbone=options.backbone,
            weights=None if finetune is None else options.weights,
            finetune=finetune,
            label_smoothing=0.1,
            optimizer=lambda groups: AdamW(groups, lr=options.lr, weight_decay=0.05, fused=True),
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
    """Return means and standard deviations over the seeds, and the gain over training from scratch."""
    by_key: dict[tuple[Any, ...], dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        by_key[tuple(row[name] for name in _KEY)][row["seed"]] = row
    lines = [
        "| set | way | epochs | lr | batches | size | val accuracy | test accuracy | gain | seeds | seconds |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for key, runs in by_key.items():
        val, test = (_spread([row[score] for row in runs.values()]) for score in ("val", "test"))
        # Seed by seed: both ways have the same pictures.
        scratch = by_key.get((key[0], "scratch", *key[2:]), {})
        gaps = [row["test"] - scratch[seed]["test"] for seed, row in runs.items() if seed in scratch]
        gap = _spread(gaps) if gaps and key[1] != "scratch" else ""
        seconds = statistics.fmean(row["seconds"] for row in runs.values())
        lines.append(f"| {' | '.join(map(str, key))} | {val} | {test} | {gap} | {len(runs)} | {seconds:.0f} |")
    return "\n".join(lines)


_KEY = ("set", "way", "epochs", "lr", "min_batches", "image_size")


def _spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.3f} ± {deviation:.3f}"


def parse_set(said: str) -> str:
    """Check `name:count`."""
    name, _, count = said.partition(":")
    if name not in SETS or not count.isdigit() or int(count) < 1:
        raise argparse.ArgumentTypeError(f"a set is one of {', '.join(SETS)} and pictures a class, such as orl:6")
    return said


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help=f"folder that holds {', '.join(SETS)}")
    parser.add_argument("--weights", required=True, help="ImageNet weights of the backbone: a file or a name to fetch")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument(
        "--sets",
        nargs="+",
        type=parse_set,
        default=["cifar10:100", "cifar10:20", "mnist:10", "orl:6", "bccd:20", "photos:14"],
        help="each with its training pictures a class; orl has 6 at most",
    )
    parser.add_argument("--ways", nargs="+", default=["scratch", "head", "gradual", "full"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lr", type=float, default=1e-3, help="of the head")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--min_batches", type=int, default=20, help="of an epoch, at least")
    parser.add_argument("--image_size", type=int, default=64, help="224 is what the config has")
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no run after so long")
    parser.add_argument("--results", type=Path, default=Path("finetune_presets.jsonl"))
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    # Lightning says of every trainer what it runs on.
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
    start = time.perf_counter()
    rows = [json.loads(line) for line in options.results.read_text().splitlines()] if options.results.exists() else []
    same = ("epochs", "lr", "batch_size", "min_batches", "image_size", "backbone", "precision")
    for seed, set_name, way in itertools.product(options.seeds, options.sets, options.ways):
        key = {"set": set_name, "way": way, "seed": seed} | {name: getattr(options, name) for name in same}
        if any(key.items() <= row.items() for row in rows):
            continue
        if time.perf_counter() - start > 60 * options.minutes:
            print("the minutes are over; call again to go on", flush=True)
            break
        rows.append(key | run(options, set_name, way, seed))
        line = json.dumps(rows[-1])
        with options.results.open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
