"""A signal counts also where the exception it raises is lost."""

import signal

import pytest

from mtnat.lab.driver.interruption import Interruption


class Falls:
    """Raises while it is destroyed, which Python only mentions."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_inside_a_destructor_is_heard_at_the_next_check() -> None:
    interruption = Interruption()
    interruption.check()
    before = signal.signal(signal.SIGINT, interruption)
    try:
        Falls()
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(KeyboardInterrupt):
        interruption.check()


def test_a_signal_interrupts_at_once() -> None:
    before = signal.signal(signal.SIGINT, Interruption())
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
