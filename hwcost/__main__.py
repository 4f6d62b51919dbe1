"""``python -m hwcost`` is the command line."""

import sys

from hwcost.cli import main

if __name__ == "__main__":
    sys.exit(main())
