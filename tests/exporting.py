"""What torch's exporter can do, which differs from release to release."""

import pytest
import torch
from packaging.version import Version

__all__ = ["EXPORTS_ANY_SIZE"]

#: Mark of a test that exports a network once for pictures of any size.
EXPORTS_ANY_SIZE = pytest.mark.skipif(
    Version(torch.__version__) < Version("2.14"),
    reason="before torch 2.14 an exported network asks for sides as even as the example's",
)
