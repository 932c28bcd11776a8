"""The console on which commands print."""

import sys

from rich.console import Console

from mtnat.process import end_output


class OutputConsole(Console):
    """A console on the standard output.

    It takes no text for markup, because questions, names and paths may contain what Rich takes for it, such as [/x] and
    :warning:. When the reader of the output has closed the pipe (``| head``), it prints nothing more and the command continues:
    the results of a study are in its files.
    """

    def __init__(self, *, columns: int = 160, highlight: bool = True) -> None:
        """
        Args:
            columns: width where the output is a file or a pipe, which has none.
            highlight: print figures and paths in colours.
        """
        # The stream is named, because `sys.stdout` is replaced while Ray runs.
        width = None if sys.stdout.isatty() else columns
        super().__init__(file=sys.stdout, width=width, markup=False, emoji=False, highlight=highlight)

    def on_broken_pipe(self) -> None:
        """Ends the output."""
        self.quiet = True
        end_output(self.file)
