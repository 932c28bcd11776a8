"""Runs a study: ``python tune.py studies/quickstart.yaml``."""

import sys

from mtnat.process import end_quietly_at_interrupt

end_quietly_at_interrupt()

from mtnat.lab.command import main  # noqa: E402  the imports take a moment

if __name__ == "__main__":
    sys.exit(main())
