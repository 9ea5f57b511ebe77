"""``python -m deepgen`` is the command ``deepgen``."""

import sys

from deepgen.cli import main

if __name__ == "__main__":
    sys.exit(main())
