"""Real data that is not shipped: found through `RESVISION_SHARED_DATA` or beside the repository."""

import os
from pathlib import Path

import pytest

_ROOT = Path(os.environ.get("RESVISION_SHARED_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()


def shared_data(*parts: str) -> Path:
    """Return a path inside the shared data, or skip the calling test when it is not there."""
    path = _ROOT.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {'/'.join(parts)} of the shared data; set RESVISION_SHARED_DATA to its folder")
    return path
