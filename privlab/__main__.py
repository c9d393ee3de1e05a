"""``python -m privlab``."""

import sys

from privlab.cli import main

if __name__ == "__main__":
    sys.exit(main())
