"""`python -m resvision`, the same as the command `resvision`."""

import sys

from resvision.cli import main

if __name__ == "__main__":
    sys.exit(main())
