import pytest

from resvision.backbones import BackboneEntry, registry
from tests.models.toy import ToyBackbone


@pytest.fixture(autouse=True)
def _toy_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a backbone that trains in milliseconds, for the length of a test."""
    monkeypatch.setitem(registry._ENTRIES, "toy", BackboneEntry("toy", ToyBackbone))
