"""``python -m mtnat``."""

import sys

from mtnat.process import start_anew


def main() -> int:
    """Runs one command and returns its exit code; see `mtnat.cli`."""
    start_anew()
    from mtnat import cli  # only now, since it takes a second

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
