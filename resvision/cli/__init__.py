"""The command line: `resvision VERB ...`."""

from resvision.cli.dispatch import main

__all__ = ["main"]
