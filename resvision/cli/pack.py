"""`resvision pack`: a folder of pictures into shards, which an object store hands out faster than single files."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from resvision.cli.run_folder import new_folder
from resvision.data.class_trees import find_trees
from resvision.data.image_folder import ImageFolder
from resvision.data.shard_packing import pack
from resvision.data.sharded_images import require_litdata

__all__ = ["main"]


def main(verb: str, words: Sequence[str]) -> int:
    """Write the shards of every split, and say how to train on them."""
    options = _parser(verb).parse_args(words)
    if options.shard_mib < 1:
        raise ValueError(f"--shard_mib is {options.shard_mib}; it must be at least 1")
    require_litdata(f"resvision {verb}")
    fractions = {"val_fraction": options.val_fraction, "test_fraction": options.test_fraction}
    data = ImageFolder(str(options.root), **fractions)
    has_test = options.test_fraction or "test" in find_trees(options.root)
    output = new_folder(Path("shards"), options.output, "--output")
    written = pack(
        data, ("train", "val", "test") if has_test else ("train", "val"), output, shard_bytes=options.shard_mib * 2**20
    )
    for split, count in written.items():
        print(f"{split}: {count} pictures in {len(list((output / split).glob('*.bin')))} shards")
    print(f"written to {output}; to train: resvision fit --config YOURS.yaml --config {output / 'data.yaml'}")
    return 0


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"resvision {verb}",
        allow_abbrev=False,
        description="Pack the pictures of a folder with one folder for each class, with or without splits, into "
        "shards: files of many pictures each, in the format of litdata. Copy them into an object store as they are.",
    )
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set, as ImageFolder takes it")
    parser.add_argument("--output", type=Path, help="folder to write, empty or not there yet; default: shards/<n>")
    parser.add_argument("--val_fraction", type=float, default=0.2, help="held out where there is no folder val")
    parser.add_argument("--test_fraction", type=float, default=0.0, help="held out where there is no folder test")
    parser.add_argument("--shard_mib", type=int, default=64, help="size of a shard in MiB")
    return parser
