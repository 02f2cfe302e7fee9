import pytest

from resvision.backbones import BackboneEntry, registry
from tests.callbacks.small_runs import RandomBackbone
from tests.models.toy import ToyBackbone


@pytest.fixture(autouse=True)
def _small_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register backbones that train in milliseconds, for the length of a test."""
    monkeypatch.setitem(registry._ENTRIES, "toy", BackboneEntry("toy", ToyBackbone))
    monkeypatch.setitem(registry._ENTRIES, "random", BackboneEntry("random", RandomBackbone))
