"""The command line, parsed without building anything."""

from jsonargparse import Namespace

import resvision.data
from resvision.cli.lightning_cli import VisionCLI
from resvision.cli.request import Request

__all__ = ["ParseOnly", "parse", "parse_verb"]


class ParseOnly(VisionCLI):
    """The command line up to the moment at which something would be built."""

    def instantiate_classes(self) -> None:
        """Build nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Run nothing."""


def parse_verb(verb: str, *words: str) -> ParseOnly:
    """Parse the words after a verb."""
    for name in resvision.data.__all__:
        getattr(resvision.data, name)
    return ParseOnly(verb, Request.parse(words))


def parse(*words: str) -> Namespace:
    """Return what `fit` makes of the words."""
    config: Namespace = parse_verb("fit", *words).config.fit
    return config
