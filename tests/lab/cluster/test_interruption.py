"""A signal takes effect even when the exception it raises is lost."""

import signal

import pytest

from mtnat.lab.cluster.interruption import Interruption


class Falls:
    """Raises in its destructor, where Python only prints the exception."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_lost_in_a_destructor_is_raised_at_the_next_check() -> None:
    interruption = Interruption()
    interruption.check()
    before = signal.signal(signal.SIGINT, interruption)
    try:
        Falls()
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(KeyboardInterrupt):
        interruption.check()


def test_a_signal_raises_keyboard_interrupt_immediately() -> None:
    before = signal.signal(signal.SIGINT, Interruption())
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
