"""The machines of a cluster, and how many runs they hold."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import ray
from ray.autoscaler.sdk import request_resources

from mtnat.errors import ResourceError, StudyError
from mtnat.lab.study.resources import Machine, Resources, resource_problems, runs_at_once

SECONDS_BETWEEN_LOOKS = 2.0
"""The list of machines is read again after this time."""
LONGEST_REST = 60.0
"""The longest pause after processes have died, in seconds."""


def machines() -> list[Machine]:
    """Returns the machines of the cluster that are alive."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    return [Machine(node.get("CPU", 0), node.get("GPU", 0)) for node in alive]


def wait_for_room(
    resources: Resources,
    minutes: float,
    say: Callable[[str], None],
    check: Callable[[], None],
    *,
    look: Callable[[], Sequence[Machine]] = machines,
    call: Callable[[list[dict[str, float]]], None] = lambda bundles: request_resources(bundles=bundles),
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Waits until a run fits on the cluster, whose machines may still be starting.

    Args:
        minutes: the longest wait.
        check: called regularly; may raise to end the wait.
        look: returns the machines that are alive.
        call: requests resources from the autoscaler, one bundle per worker; an empty list cancels the request.

    Raises:
        ResourceError: the run still does not fit after ``minutes``.
    """
    problems = list(resource_problems(resources, look()))
    if not problems:
        return
    if not minutes:
        raise ResourceError(problems)
    say(f"waiting up to {minutes:g} minutes for machines on which a run fits")
    worker = {"CPU": float(resources.cpus_per_worker), "GPU": resources.gpus_per_worker}
    call([{name: amount for name, amount in worker.items() if amount}] * resources.least_workers)
    try:
        ends = clock() + 60 * minutes
        while problems := list(resource_problems(resources, look())):
            if clock() >= ends:
                raise ResourceError(problems)
            check()
            sleep(SECONDS_BETWEEN_LOOKS)
    finally:
        call([])


class Room:
    """The machines of the cluster, which may join and leave, and the number of runs that they hold."""

    def __init__(
        self,
        resources: Resources,
        look: Callable[[], Sequence[Machine]] = machines,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resources, self._look, self._clock = resources, look, clock
        self._looked = -SECONDS_BETWEEN_LOOKS
        self._machines: Sequence[Machine] = ()

    @property
    def machines(self) -> Sequence[Machine]:
        """The machines that are alive, at most `SECONDS_BETWEEN_LOOKS` ago."""
        if self._clock() - self._looked >= SECONDS_BETWEEN_LOOKS:
            self._machines, self._looked = self._look(), self._clock()
        return self._machines

    @property
    def runs(self) -> int:
        """Number of runs at the same time, at least one."""
        return runs_at_once(self._resources, self.machines)

    @property
    def fits(self) -> bool:
        """Whether a single run fits on the machines."""
        return not list(resource_problems(self._resources, self.machines))


class TuneTrial(Protocol):
    """The part of a trial of Ray Tune that is used here."""

    @property
    def status(self) -> str: ...


class Patience:
    """Delays new runs after processes have died, for example for lack of memory, and ends a study in which no run can start."""

    def __init__(self, resources: Resources, room: Room, clock: Callable[[], float] = time.monotonic) -> None:
        self._resources, self._room, self._clock = resources, room, clock
        self._moved = self._rests_until = clock()
        self._deaths = 0

    @property
    def places(self) -> int:
        """Number of runs that may be in progress now."""
        return 0 if self._clock() < self._rests_until else self._room.runs

    def died(self) -> None:
        """A process has died: no run starts for the next 1, 2, 4, … seconds."""
        self._rests_until = self._clock() + min(2.0**self._deaths, LONGEST_REST)
        self._deaths += 1

    def progressed(self) -> None:
        """A run has made progress, so the next delay is short again."""
        self._deaths = 0

    def check(self, trials: Sequence[TuneTrial]) -> None:
        """Called regularly while the study runs.

        Raises:
            StudyError: no run could start for `start_minutes`.
        """
        statuses = {trial.status for trial in trials}
        # Tune counts a run with workers of Ray Train as running even while it waits for them.
        runs = "RUNNING" in statuses and (not self._resources.uses_ray_train or self._room.fits)
        if runs or not (self._deaths or statuses & {"PENDING", "RUNNING"}):
            self._moved = self._clock()
        elif self._clock() - self._moved >= 60 * self._resources.start_minutes:
            problems = list(resource_problems(self._resources, self._room.machines))
            problems.append("its processes end as they start." if self._deaths else "others hold its machines.")
            raise StudyError(
                f"the study: no run could start for {self._resources.start_minutes:g} minutes ({problems[0]}) "
                "Continue with --resume once there is room."
            )
