import pytest


@pytest.fixture(autouse=True)
def _small_backbones(small_backbones: None) -> None:
    """Have them in every test of this folder."""
