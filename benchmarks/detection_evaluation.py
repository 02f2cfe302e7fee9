"""Average precision of 2,000 pictures with 100 boxes each: our evaluation against pycocotools'.

pycocotools is no dependency of resvision; install it for this comparison.

    python benchmarks/detection_evaluation.py --pictures 2000 --boxes 100
"""

import argparse
import contextlib
import io
import json
import time

import numpy as np
import torch
from torch import Tensor

from resvision.tasks.box_scores import AveragePrecision, BoxScores

CLASSES = 20
SIZE = 640
NAMES = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")


def draw(pictures: int, boxes: int, seed: int) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    """Return what was found and the truth: ten objects in a picture, each found roughly, and boxes of nothing."""
    generator = torch.Generator().manual_seed(seed)
    found, truth = [], []
    for _ in range(pictures):
        corners = torch.rand(10, 2, generator=generator) * SIZE * 0.7
        sides = torch.exp(torch.rand(10, 2, generator=generator) * 3 + 2)
        objects = torch.cat([corners, corners + sides], dim=1)
        labels = torch.randint(CLASSES, (10,), generator=generator)
        picked = torch.randint(10, (boxes,), generator=generator)
        shift = torch.randn(boxes, 4, generator=generator) * sides[picked].repeat(1, 2) * 0.15
        said = objects[picked] + shift
        said = torch.cat([torch.minimum(said[:, :2], said[:, 2:]), torch.maximum(said[:, :2], said[:, 2:])], dim=1)
        right = torch.rand(boxes, generator=generator) < 0.7
        classes = torch.where(right, labels[picked], torch.randint(CLASSES, (boxes,), generator=generator))
        found.append({"boxes": said, "scores": torch.rand(boxes, generator=generator), "labels": classes})
        area = sides.prod(dim=1)
        truth.append({"boxes": objects, "labels": labels, "iscrowd": torch.zeros(10, dtype=torch.int64), "area": area})
    return found, truth


def ours(found: list[dict[str, Tensor]], truth: list[dict[str, Tensor]]) -> list[float]:
    metric, numbers = AveragePrecision(CLASSES), torch.arange(len(found))
    for start in range(0, len(found), 8):
        batch = slice(start, start + 8)
        metric.update(found[batch], truth[batch], numbers[batch])
    scores: BoxScores = metric.compute()
    overall = scores.overall
    return [overall[name] for name in NAMES]


def theirs(found: list[dict[str, Tensor]], truth: list[dict[str, Tensor]]) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    coco = COCO()
    annotations = [
        {"image_id": image, "category_id": label, "bbox": box, "area": area, "iscrowd": 0}
        for image, one in enumerate(truth)
        for label, box, area in zip(one["labels"].tolist(), _xywh(one["boxes"]), one["area"].tolist(), strict=True)
    ]
    coco.dataset = {
        "images": [{"id": image} for image in range(len(truth))],
        "categories": [{"id": label} for label in range(CLASSES)],
        "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations, 1)],
    }
    coco.createIndex()
    results = [
        {"image_id": image, "category_id": label, "bbox": box, "score": score}
        for image, one in enumerate(found)
        for label, box, score in zip(one["labels"].tolist(), _xywh(one["boxes"]), one["scores"].tolist(), strict=True)
    ]
    evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return [float(value) for value in evaluation.stats[:6]]


def _xywh(boxes: Tensor) -> list[list[float]]:
    return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--boxes", type=int, default=100, help="boxes found in a picture")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found, truth = draw(options.pictures, options.boxes, options.seed)
    seconds, values = {}, {}
    for name, evaluate in {"resvision": ours, "pycocotools": theirs}.items():
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            values[name] = evaluate(found, truth)
        seconds[name] = round(time.perf_counter() - start, 2)
    difference = float(np.abs(np.subtract(values["resvision"], values["pycocotools"])).max())
    print(json.dumps({"seconds": seconds, "scores": dict(zip(NAMES, values["resvision"], strict=True))}))
    print(json.dumps({"ratio": round(seconds["pycocotools"] / seconds["resvision"], 2), "difference": difference}))


if __name__ == "__main__":
    main()
