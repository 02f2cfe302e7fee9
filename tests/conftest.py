"""Settings of every test: few threads, a fixed seed, no look-ups over the network."""

import os

# Set before anything imports torch or albumentations: two test processes share two cores, and albumentations
# asks the network for a newer version of itself unless told not to.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Give every test the same random numbers, whatever ran before it."""
    torch.manual_seed(0)
