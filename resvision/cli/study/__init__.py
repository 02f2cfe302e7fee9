"""The verb `study`: several configs, trained over seeds, with one figure and one table at the end."""

from resvision.cli.study.command import main

__all__ = ["main"]
