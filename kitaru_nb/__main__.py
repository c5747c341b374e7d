"""Runs the command line: ``python -m kitaru_nb`` is ``kitaru-nb``."""

import sys

from kitaru_nb.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
