"""Runs a study: ``python tune.py studies/quickstart.yaml``."""

import sys

from mtnat.lab.command import main

if __name__ == "__main__":
    sys.exit(main())
