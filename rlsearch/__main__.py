"""`python -m rlsearch` is the console script."""

import sys

from rlsearch.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
