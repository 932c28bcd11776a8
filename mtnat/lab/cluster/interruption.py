"""What stops a study: signals, and the loss of Ray."""

from types import FrameType


class Interruption:
    """Handles SIGINT and SIGTERM: raises KeyboardInterrupt at once, and again at the next `check`.

    The second one is needed because Python ignores an exception inside a destructor, or in some callbacks of libraries. A
    signal that arrives there would otherwise be lost.
    """

    def __init__(self) -> None:
        self.is_wanted = False
        """Whether a signal has arrived."""
        self.lost: str | None = None
        """Why Ray can no longer be used, as a message for the user; None while it can."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.is_wanted = True
        raise KeyboardInterrupt

    def check(self) -> None:
        """Raises KeyboardInterrupt if a signal has arrived, or Ray is lost."""
        if self.is_wanted or self.lost:
            raise KeyboardInterrupt
