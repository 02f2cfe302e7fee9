"""`resvision convert`: a data set with boxes from one format into another."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from resvision.cli.run_folder import new_folder
from resvision.data.detection_convert import (
    FORMATS,
    check_class_names,
    losses,
    open_folder,
    target_names,
    write_folder,
)

__all__ = ["main"]


def main(verb: str, words: Sequence[str]) -> int:
    """Read every split, then write it, and say what was mended and what the new format cannot hold."""
    options = _parser(verb).parse_args(words)
    if options.source == options.target:
        raise ValueError(f"--from and --to are both {options.source}; there is nothing to convert")
    folder = open_folder(options.root, options.source)
    found = {split: folder.read(split) for split in folder.splits}
    # What stands against it is said before anything is written.
    check_class_names(folder.class_names, options.target)
    target_names(found, options.target)
    output = new_folder(Path("converted"), options.output, "--output")
    write_folder(output, options.target, folder.class_names, found, link=options.link)
    for split, annotations in found.items():
        print(f"{split}: {len(annotations)} pictures, {len(annotations.boxes)} boxes")
        for line in (*annotations.repairs, *losses(annotations, options.target)):
            print(f"  {line}")
    print(f"{len(folder.class_names)} classes: {', '.join(folder.class_names)}")
    print(f"written to {output}")
    return 0


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"resvision {verb}",
        allow_abbrev=False,
        description="Turn a data set with boxes from one format into another, pictures included. Boxes are mended as "
        "in training: clipped to their picture, dropped where they have no size. Kept are classes, boxes, areas, and "
        "the marks crowd, difficult, truncated and occluded where the format has a place for them; outlines, key "
        "points and poses are not.",
    )
    parser.add_argument("--from", dest="source", required=True, choices=FORMATS, help="the format that there is")
    parser.add_argument("--to", dest="target", required=True, choices=FORMATS, help="the format to write")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--output", type=Path, help="folder to write, empty or not there yet; default: converted/<n>")
    parser.add_argument("--link", action="store_true", help="link to the pictures instead of copying them")
    return parser
