"""The console on which commands print tables."""

import sys

from rich.console import Console

_COLUMNS = 160


def table_console() -> Console:
    """Returns a console on standard output."""
    # A file or a pipe has no width, so a fixed one is used. Markup is off, since a name or a text may contain brackets.
    return Console(width=None if sys.stdout.isatty() else _COLUMNS, markup=False, emoji=False, highlight=False)
