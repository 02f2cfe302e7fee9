"""Kill a process that saves one checkpoint after the other, again and again, and read what is left.

    python tests/callbacks/kill_while_saving.py FOLDER --kills 200 --size 32

Prints one JSON object; its `broken` must be 0.
"""

import argparse
import itertools
import json
import os
import random
import signal
import time
from pathlib import Path

import torch

from resvision.callbacks.safe_checkpoints import SafeCheckpointIO, remove_orphans


def save_for_ever(path: Path, first: int, size: int, saved: int) -> None:
    """Save checkpoints with rising numbers, every value of one being its number, and write a byte after each."""
    weights = torch.empty(size * 2**18)  # MiB of float32
    for number in itertools.count(first):
        SafeCheckpointIO().save_checkpoint({"number": number, "weights": weights.fill_(number)}, path)
        os.write(saved, b".")


def kill(folder: Path, *, kills: int, size: int) -> dict[str, int]:
    """Return how often the file was broken, went back, or a temporary file was left behind."""
    path = folder / "last.ckpt"
    began = time.perf_counter()
    SafeCheckpointIO().save_checkpoint({"number": 0, "weights": torch.zeros(size * 2**18)}, path)
    a_save = time.perf_counter() - began
    number = broken = backward = orphans = 0
    draws = random.Random(0)
    for turn in range(kills):
        read, write = os.pipe()
        child = os.fork()
        if not child:
            save_for_ever(path, number + 1, size, write)
        os.close(write)  # so that a child that fails is not waited for
        if turn % 2:  # the others are met at any moment, also before their first save
            os.read(read, 1)
        time.sleep(draws.uniform(0.0, 4 * a_save))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
        orphans += len(list(folder.iterdir())) - 1
        try:
            checkpoint = torch.load(path, weights_only=True)
        except Exception:
            broken += 1
            continue
        broken += not bool((checkpoint["weights"] == checkpoint["number"]).all())
        backward += checkpoint["number"] < number
        number = checkpoint["number"]
    remove_orphans([folder])
    left = len(list(folder.iterdir())) - 1
    return {"kills": kills, "saves": number, "broken": broken, "backward": backward, "orphans": orphans, "left": left}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an empty folder")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--size", type=int, default=32, help="MiB of a checkpoint")
    options = parser.parse_args()
    torch.set_num_threads(1)  # a forked process has no other threads
    print(json.dumps(kill(options.folder, kills=options.kills, size=options.size)))
