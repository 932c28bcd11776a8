"""A person's wish to stop, which is not lost."""

from types import FrameType


class Interruption:
    """Handles SIGINT and SIGTERM: raises KeyboardInterrupt at once, and again at the next `check`.

    Python drops an exception that is raised inside a destructor or a library's callback, and now and then a signal comes just
    then; the study would go on as if nobody had asked.
    """

    def __init__(self) -> None:
        self.is_wanted = False
        """Whether a signal has come."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.is_wanted = True
        raise KeyboardInterrupt

    def check(self) -> None:
        """Raises KeyboardInterrupt where a signal has come."""
        if self.is_wanted:
            raise KeyboardInterrupt
