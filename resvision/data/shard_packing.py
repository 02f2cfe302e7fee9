"""Writing labelled pictures into shards that `ShardedImages` reads."""

import shutil
import warnings
from contextlib import ExitStack
from pathlib import Path

import torch
import yaml

from resvision.data.classification import FileSource
from resvision.data.image_folder import ImageFolder
from resvision.data.reading import image_size
from resvision.data.seeding import fold
from resvision.data.sharded_images import require_litdata
from resvision.data.splits import Split

__all__ = ["pack"]


def pack(data: ImageFolder, splits: tuple[Split, ...], output: Path, *, shard_bytes: int) -> dict[Split, int]:
    """Write the splits of a folder of pictures into shards, and `data.yaml`, the part of a config that reads them.

    The files go in as they are, in one random order for each split: pictures that are neighbours in a shard stay near
    each other in every epoch, so they must not be of one class.

    Args:
        data: The pictures.
        splits: Which splits to write.
        output: An empty folder.
        shard_bytes: About how large a shard is.

    Returns:
        The number of pictures in each split.

    Raises:
        DataError: A picture cannot be read, or litdata is not here; then the folder is empty as before.
    """
    require_litdata("resvision pack")
    sources = {split: data.source(split) for split in splits}
    with ExitStack() as undo:
        for split, source in sources.items():
            (output / split).mkdir()
            undo.callback(shutil.rmtree, output / split)
            _write(source, output / split, shard_bytes)
        settings = {"root": str(output), "class_names": list(data.class_names)}
        said = yaml.safe_dump({"data": {"class_path": "ShardedImages", "init_args": settings}}, sort_keys=False)
        (output / "data.yaml").write_text(said, encoding="utf-8")
        undo.pop_all()
    return {split: len(source) for split, source in sources.items()}


def _write(source: FileSource, folder: Path, shard_bytes: int) -> None:
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes=shard_bytes)
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(fold("pack")))
    for place, index in enumerate(order.tolist()):
        file = source.file(index)
        image_size(file)  # a file that is no picture is named now, and not in the middle of a training
        with file.open("rb") as opened, warnings.catch_warnings():
            # A shard ends with the picture that fills it, and a single one may be larger.
            warnings.filterwarnings("ignore", message="An item was larger than the target chunk size")
            writer[place] = {"image": opened.read(), "label": source.label(index)}
    writer.done()
    writer.merge(1)
