"""A tracker that a study outlives: what cannot be recorded now is recorded later."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from mtnat.errors import ResourceError
from mtnat.lab.tracking.address import without_password
from mtnat.lab.tracking.tracker import Status, Tracked, Tracker

SECONDS_BETWEEN_TRIES = 30.0
LONGEST_WAIT = 20.0
"""Seconds for which the end of a study waits for a tracker that does not answer."""
_MOST_REASON = 200


class PatientTracker:
    """Passes calls on to a tracker. After a call has failed, this call and the later ones wait in their order, and are tried
    again from time to time.

    Everything that is recorded is also in the study's folder. A file there, `mark`, remembers that the tracker may lack
    something: as long as it exists, a resumed study records all of its runs again, which changes nothing that is there.

    Until the first file has been kept, an error is raised: then the tracker may never have worked, and the user should know
    before hours are spent.
    """

    def __init__(
        self,
        tracker: Tracker,
        name: str,
        mark: Path,
        say: Callable[[str], None],
        *,
        is_refusal: Callable[[Exception], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            name: of the tracker in messages.
            say: shows a sentence to the user.
            is_refusal: whether an error means that the tracker works but does not accept the call, such as one for a run that
                somebody has deleted. Such a call is left out.
            clock: returns seconds.
        """
        self._tracker, self._name, self._mark, self._say = tracker, name, mark, say
        self._is_refusal, self._clock, self._sleep = is_refusal, clock, sleep
        self._waiting: deque[Callable[[], None]] = deque()
        self._tried_at = -SECONDS_BETWEEN_TRIES
        self._has_kept_a_file = False
        self._refused = 0

    def begin(
        self,
        key: str,
        name: str,
        parent: str | None = None,
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._pass_on(partial(self._tracker.begin, key, name, parent=parent, params=params, tags=tags))

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        self._pass_on(partial(self._tracker.tag, key, tags))

    def log(self, key: str, step: int, metrics: Mapping[str, float]) -> None:
        self._pass_on(partial(self._tracker.log, key, step, metrics))

    def keep(self, key: str, path: Path, folder: str = "") -> None:
        self._pass_on(partial(self._keep, key, path, folder))
        self._has_kept_a_file = True

    def drop(self, key: str, folder: str) -> None:
        self._pass_on(partial(self._tracker.drop, key, folder))

    def use(self, key: str, dataset: str, digest: str, source: str) -> None:
        self._pass_on(partial(self._tracker.use, key, dataset, digest, source))

    def end(self, key: str, status: Status) -> None:
        self._pass_on(partial(self._tracker.end, key, status))

    def status(self, key: str) -> Status | None:
        """Returns the status of a run; None also if the tracker does not answer."""
        if self._waiting:
            return None
        try:
            return self._tracker.status(key)
        except Exception as error:
            self._fail(error)
            return None

    def find(self, key: str) -> Tracked | None:
        return self._tracker.find(key)

    def settle(self, seconds: float = LONGEST_WAIT) -> bool:
        """Tries to record what is waiting, and returns whether the tracker has everything.

        Args:
            seconds: how long it is tried at most.
        """
        end = self._clock() + seconds
        while self._waiting and self._clock() < end:
            self._sleep(1.0)
            self._try_again()
        if self._refused:
            self._say(f"{self._name} has refused {self._refused:,} entries of this study; its folder has them.")
        if not self._waiting:
            self._mark.unlink(missing_ok=True)
        return not self._waiting

    def _pass_on(self, call: Callable[[], None]) -> None:
        if self._waiting:
            self._waiting.append(call)
            if self._clock() >= self._tried_at + SECONDS_BETWEEN_TRIES:
                self._try_again()
            return
        try:
            call()
        except Exception as error:
            if not self._has_kept_a_file:
                raise ResourceError(
                    f"{self._name}: the study cannot be recorded there ({_reason(error)}); correct that, or give another "
                    "address by --tracking-uri."
                ) from None
            if self._is_refusal(error):
                self._refuse(error)
                return
            self._waiting.append(call)
            self._fail(error)

    def _try_again(self) -> None:
        """Makes the waiting calls until one fails."""
        count = len(self._waiting)
        while self._waiting:
            try:
                self._waiting[0]()
            except Exception as error:
                if not self._is_refusal(error):
                    self._tried_at = self._clock()
                    return
                self._refuse(error)
            self._waiting.popleft()
        self._say(f"{self._name} answers again, and has received what was waiting: {count:,} entries.")

    def _fail(self, error: Exception) -> None:
        self._tried_at = self._clock()
        self._mark.touch()
        self._say(
            f"{self._name} does not answer ({_reason(error)}). The study goes on; what it records waits in its folder and is "
            "sent later."
        )

    def _refuse(self, error: Exception) -> None:
        self._refused += 1
        if self._refused == 1:
            self._say(f"{self._name} refuses an entry ({_reason(error)}). The study goes on; its folder has the entry.")

    def _keep(self, key: str, path: Path, folder: str) -> None:
        """Keeps a file, unless it was removed while the call was waiting."""
        if path.exists():
            self._tracker.keep(key, path, folder)


def _reason(error: Exception) -> str:
    words = " ".join(without_password(str(error)).split()) or type(error).__name__
    return words if len(words) <= _MOST_REASON else f"{words[:_MOST_REASON]}..."
