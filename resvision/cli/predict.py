"""The verb `predict`: a trained model over a folder, a glob or a file."""

import argparse
import glob
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, get_args

from numpy.typing import NDArray
from tqdm import tqdm

from resvision.batch import LabelKind
from resvision.cli.found_boxes import CocoResults, write_boxes
from resvision.cli.messages import explain
from resvision.cli.request import Request
from resvision.cli.run_folder import new_folder
from resvision.data.listing import visible_files
from resvision.data.reading import IMAGE_SUFFIXES
from resvision.inference import (
    ClassificationResult,
    DetectionResult,
    EmbeddingResult,
    MultiTaskResult,
    Predictor,
    Result,
    SegmentationResult,
    load,
)
from resvision.inference.checkpoints import find_checkpoint
from resvision.tasks.box_scores import LEAST_SCORE

__all__ = ["main"]

#: The lines of each picture; a folder that has this file was written by `predict`.
_LINES: Final = "predictions.jsonl"
#: Classes that a line names.
_TOP: Final = 5


def main(verb: str, words: Sequence[str]) -> int:
    """Predict every picture; write one JSON line each, and what there is to see of masks and boxes."""
    request = Request.parse(words)
    options = _parser(verb).parse_args(words)
    least_score = LEAST_SCORE if options.score is None else options.score
    if not 0 <= least_score <= 1:
        raise ValueError(f"--score must be a number from 0 to 1, such as 0.4 for 40 %, got {least_score}")
    if options.annotations is not None and not options.annotations.exists():
        raise FileNotFoundError(f"there is no file {options.annotations}; --annotations takes a JSON file of COCO's")
    if request.ckpt_path is None:
        raise ValueError("predict needs a trained model: give --ckpt_path best, last, a run folder or a file")
    pictures = _pictures(options.data)
    predictor = load(find_checkpoint(request.ckpt_path, run=request.run), options.device)
    names = predictor.object_names
    for option in ("score", "annotations"):
        if names is None and getattr(options, option) is not None:
            kind = type(predictor.task).__name__
            raise ValueError(f"--{option} is for models that find boxes, and this {kind} finds none; leave it out")
    coco = None if names is None else CocoResults([*pictures], names, options.annotations)
    output = new_folder(Path("predictions"), options.output, "--output")
    failures = _predict(predictor, pictures, output, least_score, coco)
    if coco is not None:
        coco.write(output / "coco_results.json")
    print(f"{len(pictures) - failures} of {len(pictures)} pictures predicted, written to {output}")
    return 1 if failures else 0


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"resvision {verb}",
        allow_abbrev=False,
        description="Apply a trained model to pictures. Writes predictions.jsonl, with the five likeliest classes of a "
        "classifier, or the embedding of a face; a segmentation also writes masks/ (palette PNG, values are class "
        "numbers) and overlays/, a detector overlays/ and coco_results.json, with boxes of lower scores too. A model "
        "of several tasks writes what each would, the pictures in folders of their own.",
    )
    parser.add_argument("--ckpt_path", metavar="CKPT", help="best, last, a run folder or a checkpoint file")
    parser.add_argument(
        "--data",
        required=True,
        help="a folder, searched with its subfolders but for those that predict wrote; a glob or a file",
    )
    parser.add_argument("--output", type=Path, help="folder to write, empty or not there yet; default: predictions/<n>")
    parser.add_argument("--score", type=float, help=f"least score of a box, from 0 to 1; default: {LEAST_SCORE}")
    parser.add_argument("--annotations", type=Path, help="COCO's JSON of these pictures, for ids in coco_results.json")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; default: a GPU if there is one")
    parser.add_argument("-c", "--config", action="append", help="the config whose newest run best and last speak of")
    parser.add_argument("--run_dir", help="the run that best and last speak of")
    return parser


def _pictures(data: str) -> dict[Path, Path]:
    """Return the files to predict, each with its path below `masks/` and `overlays/`.

    Raises:
        FileNotFoundError: If there is no picture.
    """
    root = Path(data)
    if root.is_dir():
        found = visible_files(root, {*IMAGE_SUFFIXES, Path(_LINES).suffix})
        written = {name.parent for name in found if name.name == _LINES}
        pictures = [name for name in found if name.suffix.lower() in IMAGE_SUFFIXES]
        names = [name for name in pictures if written.isdisjoint(name.parents[:-1])]
        if not names:
            raise FileNotFoundError(f"the folder {data} has no pictures ({' '.join(sorted(IMAGE_SUFFIXES))})")
        files = [root / name for name in names]
    else:
        # `Path.glob` takes no absolute pattern.
        files = [root] if root.is_file() else sorted(map(Path, glob.glob(data, recursive=True)))  # noqa: PTH207
        files = [path for path in files if path.is_file()]
        if not files:
            raise FileNotFoundError(f"there is no folder or file {data}, and as a glob it matches no file")
        above = os.path.commonpath([path.parent for path in files])
        names = [path.relative_to(above) for path in files]
    return dict(zip(files, _outputs(names), strict=True))


def _outputs(names: Sequence[Path]) -> list[Path]:
    """Return a file to write for each picture; where a.jpg and a.png would both become a.png, whole names are kept."""
    short = [name.with_suffix(".png") for name in names]
    whole = [Path(f"{name}.png") for name in names]
    # Not every file system tells A.png from a.png.
    count = Counter(str(path).casefold() for path in short)
    mixed = [a if count[str(a).casefold()] == 1 else b for a, b in zip(short, whole, strict=True)]
    found = {str(path).casefold() for path in mixed}
    folders = {str(folder).casefold() for path in mixed for folder in path.parents}
    return mixed if len(found) == len(names) and found.isdisjoint(folders) else whole


def _predict(
    predictor: Predictor, pictures: dict[Path, Path], output: Path, least_score: float, coco: CocoResults | None
) -> int:
    """Predict the pictures one by one; one that cannot be read is reported, and the others go on.

    Returns:
        The number of pictures that could not be read.
    """
    failures = 0
    with (output / _LINES).open("w", encoding="utf-8") as lines:
        for path, name in tqdm(pictures.items(), desc="predict", unit="picture"):
            try:
                image = predictor.read(path)
            except (ValueError, OSError) as error:
                failures += 1
                text = explain(error).text
                tqdm.write(f"resvision predict: error: {text}", file=sys.stderr)
                lines.write(json.dumps({"file": str(path), "error": text}) + "\n")
                continue
            line: dict[str, Any] = {"file": str(path), "height": image.shape[0], "width": image.shape[1]}
            result = predictor.predict(image)
            boxes = result.detection if isinstance(result, MultiTaskResult) else result
            if isinstance(boxes, DetectionResult):
                assert coco is not None
                coco.add(path, boxes)
            line |= _write(result, image, output, name, least_score)
            lines.write(json.dumps(line) + "\n")
    return failures


def _write(result: Result, image: NDArray[Any], output: Path, name: Path, least_score: float) -> dict[str, Any]:
    """Write what there is to see of a result; return what is to be said of it."""
    if isinstance(result, ClassificationResult):
        return {"top": [{"class": name, "probability": round(p, 6)} for name, p in result.top(_TOP)]}
    if isinstance(result, EmbeddingResult):
        return {"embedding": [round(value, 6) for value in result.embedding.tolist()]}
    if isinstance(result, DetectionResult):
        return write_boxes(result.surer_than(least_score), image, output, name)
    if isinstance(result, SegmentationResult):
        return _write_masks(result, image, output, name)
    parts = {kind: getattr(result, kind) for kind in get_args(LabelKind)}
    return {
        kind: _write(part, image, output, Path(kind) / name, least_score)
        for kind, part in parts.items()
        if part is not None
    }


def _write_masks(result: SegmentationResult, image: NDArray[Any], output: Path, name: Path) -> dict[str, Any]:
    """Write the mask and its overlay; return what is to be said of them."""
    mask, overlay = output / "masks" / name, output / "overlays" / name
    for target, picture in ((mask, result.index_image()), (overlay, result.overlay(image))):
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target)
    return {
        "mask": str(mask.relative_to(output)),
        "overlay": str(overlay.relative_to(output)),
        "shares": {name: round(share, 6) for name, share in result.shares().items()},
    }
