"""``python -m mtnat``."""

import sys

from mtnat.cli import main

sys.exit(main())
