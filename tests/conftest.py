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


@pytest.fixture
def small_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register backbones that train in milliseconds, for the length of a test."""
    from resvision.backbones import BackboneEntry, registry
    from tests.callbacks.small_runs import RandomBackbone  # it knows Lightning, which most tests do without
    from tests.models.toy import ToyBackbone

    # A copy, so that whatever a test registers is gone after it.
    others = {"toy": BackboneEntry("toy", ToyBackbone), "random": BackboneEntry("random", RandomBackbone)}
    monkeypatch.setattr(registry, "_ENTRIES", registry._ENTRIES | others)
