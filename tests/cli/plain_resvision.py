"""`resvision` as a script that Lightning starts again for each process, with a backbone without batch norm."""

import sys

from resvision.backbones import BackboneEntry, registry
from resvision.cli import main
from tests.callbacks.two_processes import PlainBackbone

if __name__ == "__main__":
    registry._ENTRIES["plain"] = BackboneEntry("plain", PlainBackbone)
    sys.exit(main())
