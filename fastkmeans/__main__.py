"""``python -m fastkmeans``: the command line, see `fastkmeans.cli`."""

import sys

from fastkmeans.cli import main

if __name__ == "__main__":
    sys.exit(main())
