import pytest

from resvision.backbones import BackboneEntry, registry
from tests.callbacks.small_runs import RandomBackbone
from tests.models.toy import ToyBackbone


@pytest.fixture(autouse=True)
def _small_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register backbones that train in milliseconds, for the length of a test."""
    # A copy, so that whatever a test registers is gone after it.
    others = {"toy": BackboneEntry("toy", ToyBackbone), "random": BackboneEntry("random", RandomBackbone)}
    monkeypatch.setattr(registry, "_ENTRIES", registry._ENTRIES | others)
