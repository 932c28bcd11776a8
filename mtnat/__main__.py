"""``python -m mtnat``."""

import sys

from mtnat.process import end_quietly_at_interrupt, restart_with_tunables


def main() -> int:
    """Runs one command and returns its exit code; see `mtnat.cli`."""
    end_quietly_at_interrupt()
    restart_with_tunables()
    from mtnat import cli  # after the restart, so that it is imported once

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
