"""Labelled pictures in shards, in a folder or in an object store, read through litdata."""

import json
import os
import threading
import time
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, final

from numpy.typing import NDArray

from resvision.data.bad_images import OnBadImage
from resvision.data.base import Split
from resvision.data.classification import ClassificationSource
from resvision.data.classification_module import ClassificationDataModule
from resvision.data.errors import DataError
from resvision.data.jpeg import Picture
from resvision.data.reading import EncodedPicture, open_image, read_image
from resvision.data.sampler import Shards
from resvision.data.transforms import Augmentation

__all__ = ["FIELDS", "ShardedImages", "require_litdata"]

#: What an entry of a shard holds, and in which of litdata's formats. Others, such as `pickle`, could run code.
FIELDS: Final = {"image": "bytes", "label": "int"}

#: Seconds that another process may take to fetch a shard, and between two looks whether it has.
_PATIENCE, _PAUSE = 600.0, 0.1


@final
class ShardedImages(ClassificationDataModule):
    """Pictures to classify, in the shards that `resvision pack` writes: `pip install "resvision[shards]"`.

    Shards are files of many pictures, in the format of litdata; each split has a folder of its own. Those of an object
    store are fetched whole when their first picture is due, once for each machine, and stay in its cache: the disk
    needs room for the data set.

    Training visits the shards in a new order each epoch and mixes the pictures of a few of them, so that few are
    fetched before the first step. The order is a function of the seed and the epoch alone, whatever the number of
    processes and workers; a run that goes on begins where it stands.

    Args:
        root: Folder of the data set, or its URL: `s3://`, `gs://`, `azure://`.
        class_names: Names of the classes in the order of their numbers; `resvision pack` writes them into `data.yaml`.
        cache_dir: Folder for what is fetched; None takes litdata's own, in the home folder.
        mixed_shards: About how many shards are mixed with each other; fewer are faster to begin with.
        image_size: Height and width in pixels at which the model sees pictures.
        in_channels: 3 for RGB, 1 for grey.
        augmentation: A named strength, or a list of albumentations' transforms.
        on_bad_image: `error` stops at a picture that cannot be read. `skip` reads all pictures once before training,
            leaves the bad ones out, and lists them in `skipped.csv` of the run.
        skip_budget: Part of a split's pictures that may be skipped, in 0..1, rounded up.
        batch_size: Pictures in a batch, of each process.
        num_workers: Processes that load pictures; None takes none where the model itself runs on the CPU, and
            otherwise as many as there are CPU cores to spare, up to 8.
        seed: Seed of the order and of the augmentation.
    """

    def __init__(
        self,
        root: str,
        *,
        class_names: list[str],
        cache_dir: str | None = None,
        mixed_shards: int = 8,
        image_size: int = 224,
        in_channels: Literal[1, 3] = 3,
        augmentation: Augmentation = "light",
        on_bad_image: OnBadImage = "error",
        skip_budget: float = 0.05,
        batch_size: int = 32,
        num_workers: int | None = None,
        seed: int = 0,
    ) -> None:
        require_litdata("ShardedImages")
        if mixed_shards < 1:
            raise ValueError(f"mixed_shards is {mixed_shards}; it must be at least 1")
        super().__init__(
            class_names,
            in_channels,
            image_size=image_size,
            augmentation=augmentation,
            on_bad_image=on_bad_image,
            skip_budget=skip_budget,
            keep_decoded=0.0,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        self.root = root.rstrip("/")
        self.cache_dir = cache_dir
        self.mixed_shards = mixed_shards

    def source(self, split: Split) -> ClassificationSource:
        """Read the index of one split."""
        where = f"{self.root}/{split}"
        if "://" not in where and not (Path(where) / "index.json").is_file():
            raise DataError(f"{where}: there are no shards of this split; `resvision pack` writes some")
        return _ShardSource(where, self.cache_dir, self.num_classes, self.mixed_shards, self.channels)


@final
class _ShardSource(ClassificationSource):
    """Pictures of a folder of shards; each process opens it for itself, as connections cannot be inherited."""

    def __init__(
        self, where: str, cache_dir: str | None, num_classes: int, mixed: int, channels: Literal[1, 3]
    ) -> None:
        self._where = where
        self._cache_dir = cache_dir
        self._num_classes = num_classes
        self._channels: Literal[1, 3] = channels
        self._handle: tuple[int, _Handle] | None = None
        sizes = tuple(shard["chunk_size"] for shard in self._opened().shards)
        self._shards = Shards(sizes, mixed)

    def __len__(self) -> int:
        return sum(self._shards.sizes)

    def read(self, index: int) -> tuple[NDArray[Any], int]:
        picture, label = self._picture(index)
        return read_image(picture, self._channels), label

    def open(self, index: int) -> tuple[Picture, int]:
        picture, label = self._picture(index)
        return open_image(picture, self._channels), label

    def _picture(self, index: int) -> tuple[EncodedPicture, int]:
        entry = self._opened().entry(index)
        return EncodedPicture(self.name(index), lambda: entry["image"]), self._label(index, entry)

    def label(self, index: int) -> int:
        return self._label(index, self._opened().entry(index))

    def _label(self, index: int, entry: Mapping[str, Any]) -> int:
        label: int = entry["label"]
        if not 0 <= label < self._num_classes:
            raise DataError(
                f"{self.name(index)}: the label is {label}, and class_names has {self._num_classes} names; "
                "take those of the data.yaml beside the shards"
            )
        return label

    def name(self, index: int) -> str:
        return f"{self._where}, picture {index}"

    def shards(self) -> Shards:
        return self._shards

    def _opened(self) -> "_Handle":
        process = os.getpid()
        if self._handle is None or self._handle[0] != process:
            self._handle = process, _Handle(self._where, self._cache_dir)
        return self._handle[1]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_handle": None}


class _Handle:
    """A folder of shards as litdata sees it.

    Args:
        where: The folder or its URL.
        cache_dir: Folder for what is fetched.

    Raises:
        DataError: It cannot be reached, or its index is none of ours.
    """

    def __init__(self, where: str, cache_dir: str | None) -> None:
        import litdata
        from litdata.streaming.downloader import get_downloader

        self._where = where
        self._lock = threading.Lock()  # litdata has one open file for all threads
        self._is_remote = "://" in where
        url = where.replace("file://", "local:", 1) if where.startswith("file://") else where
        try:
            self._dataset = litdata.StreamingDataset(url, cache_dir=cache_dir)
            remote, self._folder = self._dataset.input_dir.url, Path(self._dataset.input_dir.path)
            index = json.loads((self._folder / "index.json").read_text(encoding="utf-8"))
        except Exception as error:  # those of a dozen stores
            raise self._refusal(error) from error
        self.shards = _checked(where, index, None if self._is_remote else self._folder)
        self._ends = list(accumulate(shard["chunk_size"] for shard in self.shards))
        if self._is_remote:
            self._downloader = get_downloader(remote, str(self._folder), self.shards)
            # From here on it is a folder, in which a shard is before it is read.
            self._dataset = litdata.StreamingDataset(str(self._folder))

    def entry(self, index: int) -> Mapping[str, Any]:
        """Return a picture as the bytes of its file, and its label."""
        with self._lock:
            try:
                if self._is_remote:
                    self._fetch(index)
                entry = self._dataset[index]
            except DataError:
                raise
            except Exception as error:  # those of a dozen stores, and of a spoilt shard
                raise self._refusal(error) from error
        if not isinstance(entry, Mapping) or entry.keys() != FIELDS.keys():
            raise DataError(f"{self._where}: an entry holds other things than {', '.join(FIELDS)}; pack the set anew")
        return entry

    def _fetch(self, index: int) -> None:
        """Fetch the shard of a picture, unless this machine has it; litdata would fetch the picture alone each time."""
        number = bisect_right(self._ends, index)
        shard = self._folder / self.shards[number]["filename"]
        began = time.monotonic()
        while not shard.exists():
            self._downloader.download_chunk_from_index(number)  # does nothing while another process fetches it
            if shard.exists():
                break
            if time.monotonic() - began > _PATIENCE:
                raise DataError(
                    f"{self._where}/{shard.name}: was not fetched within {_PATIENCE:.0f} s; remove {shard}*"
                )
            time.sleep(_PAUSE)

    def _refusal(self, error: Exception) -> DataError:
        reason = " ".join(str(error).split()) or type(error).__name__
        return DataError(f"{self._where}: cannot be read through litdata ({reason}); check root and the access to it")


def _checked(where: str, index: Any, folder: Path | None) -> list[Mapping[str, Any]]:
    """Return the shards that an index lists, if it is one that `resvision pack` could have written.

    Args:
        where: What an error calls the folder.
        index: What the index says.
        folder: Where the shards lie; None if they are yet to be fetched.
    """
    shards = index.get("chunks") if isinstance(index, dict) else None
    config = index.get("config") if isinstance(index, dict) else None
    if not isinstance(shards, list) or not isinstance(config, dict) or not shards:
        raise DataError(f"{where}/index.json: lists no shards; pack the set anew")
    if config.get("data_format") != [*FIELDS.values()] or config.get("compression") or config.get("encryption"):
        raise DataError(
            f"{where}/index.json: holds {config.get('data_format')}, and not plain {' and '.join(FIELDS.values())}; "
            "other formats could run code: use `resvision pack`"
        )
    for shard in shards:
        name = shard.get("filename") if isinstance(shard, dict) else None
        if not isinstance(name, str) or name != PurePosixPath(name).name or "\\" in name or "\0" in name:
            raise DataError(f"{where}/index.json: the name {name!r} is none of a file beside it; pack the set anew")
        try:
            size = shard.get("chunk_bytes") if folder is None else (folder / name).stat().st_size
        except OSError as error:
            raise DataError(f"{where}/{name}: cannot be read: {error.strerror or error}; pack the set anew") from None
        count = shard.get("chunk_size")
        # Where a picture begins takes four bytes.
        if not isinstance(count, int) or not isinstance(size, int) or not 1 <= count <= size // 4:
            raise DataError(f"{where}/index.json: {name} holds {count} pictures in {size} bytes; pack the set anew")
    return shards


def require_litdata(who: str) -> None:
    """Raise an error that says how to install litdata, unless it is here."""
    try:
        import litdata  # noqa: F401  # only whether it is here
    except ImportError:
        raise DataError(
            f'{who} needs the library litdata, which is not here: pip install "resvision[shards]"'
        ) from None
