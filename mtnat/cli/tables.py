"""The console on which commands print tables."""

from mtnat.console import OutputConsole

_COLUMNS = 160


def table_console() -> OutputConsole:
    """Returns a console on standard output, without colours for figures."""
    return OutputConsole(columns=_COLUMNS, highlight=False)
