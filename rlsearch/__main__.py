"""`python -m rlsearch` is the console script."""

import sys

from rlsearch.cli.main import main

sys.exit(main())
