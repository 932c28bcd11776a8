"""Ray while a study runs, and the machines that it has there."""

import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import ray
import ray.exceptions
from ray.autoscaler.sdk import request_resources

from mtnat.errors import ConfigError, ResourceError, StudyError
from mtnat.lab.options import Options
from mtnat.lab.resources import Machine, Resources, cores, resource_problems, runs_at_once
from mtnat.process import TUNABLES

PACKAGE = Path(__file__).parents[1]
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""The variable by which Ray tells a job's process how it was submitted."""
SECONDS_TO_ANSWER = 10.0
SECONDS_BETWEEN_LOOKS = 2.0
"""How old what is known of the machines may be."""
LONGEST_REST = 60.0
"""Seconds."""


@contextmanager
def ray_cluster(options: Options, resources: Resources) -> Iterator[None]:
    """Ray while the study runs.

    Raises:
        ConfigError: the address is none that a study can be driven through.
        ResourceError: no cluster answers there.
    """
    _connect(options, resources)
    try:
        yield
    finally:
        ray.shutdown()


def reconnect(options: Options, resources: Resources) -> None:
    """Lets go of all that this process has on the cluster, its actors and their places, and starts afresh."""
    ray.shutdown()
    _connect(options, resources)


def _connect(options: Options, resources: Resources) -> None:
    settings = _environment(resources)
    os.environ |= settings | {
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_PRINT_ALL_TRIAL_ERRORS": str(int(options.verbose)),
        # Seconds between snapshots of every trial there was, which nobody reads: a study resumes from its own folder.
        "TUNE_GLOBAL_CHECKPOINT_S": "31536000",
    }
    level = logging.INFO if options.verbose else logging.CRITICAL
    if options.address is None:
        ray.init(
            address="local",
            num_cpus=cores(),
            include_dashboard=False,
            log_to_driver=options.verbose,
            logging_level=level,
        )
    else:
        _join(options.address, settings, log_to_driver=options.verbose, logging_level=level)
    logging.getLogger("ray").setLevel(level)


def _environment(resources: Resources) -> dict[str, str]:
    """What actors are to find as the driver does, on whichever machine they are."""
    folders = {"MTNAT_DATA": os.environ.get("MTNAT_DATA") or "data", "MTNAT_CACHE": os.environ.get("MTNAT_CACHE")}
    paths = {name: str(Path(folder).absolute()) for name, folder in folders.items() if folder}
    tunables = {name: os.environ.get(name, text) for name, text in TUNABLES.items()}
    processes = {
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        # Ray's processes have dozens of threads; with a memory arena each, a reused one grew by half a gigabyte a run.
        "MALLOC_ARENA_MAX": "1",
        # Ray Train's controller, which starts inside a trial, lets workers report no more often than this.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(60 * resources.start_minutes),
        # A Ray Train worker that does not answer for so long is taken for dead; Tune has no such watch over its own actors.
        "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": str(60 * resources.silent_minutes),
    }
    return paths | tunables | processes


def _join(address: str, settings: Mapping[str, str], **options: Any) -> None:
    """Connects to a running cluster, whose machines get the settings and this very code."""
    if "://" in address:
        raise ConfigError(
            f"--address: a study cannot be driven through {address}; submit it with `ray job submit`, "
            "or start it on one of the cluster's machines and give auto or HOST:PORT."
        )
    job = _job()
    # A job's own settings hold for all that it starts; Ray refuses to hear them twice.
    job_settings = (job or {}).get("env_vars", {})
    runtime_env: dict[str, Any] = {"env_vars": {name: text for name, text in settings.items() if name not in job_settings}}
    if job is None:
        runtime_env["py_modules"] = [str(PACKAGE)]
    try:
        _knock(address)
        ray.init(address=address, runtime_env=runtime_env, **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise ResourceError(
            f"--address: no Ray cluster can be joined at {address} ({reason}); start the study on one of its "
            "machines, with the cluster's token where it has one (RAY_AUTH_MODE=token, RAY_AUTH_TOKEN_PATH)."
        ) from None


def _knock(address: str) -> None:
    """Raises an OSError where nobody answers, which Ray would take minutes to notice."""
    host, _, port = address.rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_ANSWER).close()


def _job() -> Mapping[str, Any] | None:
    """The environment with which ``ray job submit`` started this process; None where it did not."""
    config = os.environ.get(JOB)
    return (json.loads(config).get("runtime_env") or {}) if config else None


def job_problems(outputs: Path, tracking_uri: str) -> Iterator[str]:
    """What a job would leave in its working folder, which Ray removes after it."""
    if "working_dir" not in (_job() or {}):
        return
    if outputs.absolute().is_relative_to(Path.cwd()):
        yield f"--outputs: {outputs} lies in the job's working folder, which is removed after it; give a lasting one."
    if tracking_uri.startswith("sqlite:///") and Path(tracking_uri.removeprefix("sqlite:///")).is_relative_to(Path.cwd()):
        yield "--tracking-uri: the job's working folder is removed after it; give a server, or sqlite:////folder/mlflow.db."


def machines() -> list[Machine]:
    """Those of the cluster that are alive."""
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
    """Waits until a run fits on the cluster: its machines may be still on their way.

    Args:
        check: is called now and then, and may raise.
        call: asks an autoscaler for room for so many resources, by machine; an empty list takes the wish back.

    Raises:
        ResourceError: they have not come.
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
    """How many runs the cluster holds, now that machines come and go."""

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
        """Those that are there, as of a moment ago."""
        if self._clock() - self._looked >= SECONDS_BETWEEN_LOOKS:
            self._machines, self._looked = self._look(), self._clock()
        return self._machines

    @property
    def runs(self) -> int:
        """Side by side, at least one."""
        return runs_at_once(self._resources, self.machines)

    @property
    def fits(self) -> bool:
        """Whether a run finds its place at all, were it alone."""
        return not list(resource_problems(self._resources, self.machines))


class TuneTrial(Protocol):
    """What is asked of Tune's trials."""

    @property
    def status(self) -> str: ...


class Patience:
    """Lets machines rest whose processes just ended, as where memory is short, and ends a study in which no run can start."""

    def __init__(self, resources: Resources, room: Room, clock: Callable[[], float] = time.monotonic) -> None:
        self._resources, self._room, self._clock = resources, room, clock
        self._moved = self._rests_until = clock()
        self._deaths = 0

    @property
    def places(self) -> int:
        """How many runs may be under way now."""
        return 0 if self._clock() < self._rests_until else self._room.runs

    def died(self) -> None:
        """A process has ended: the machines rest, for 1, 2, 4, … seconds."""
        self._rests_until = self._clock() + min(2.0**self._deaths, LONGEST_REST)
        self._deaths += 1

    def heard(self) -> None:
        """A run has got on."""
        self._deaths = 0

    def check(self, trials: Sequence[TuneTrial]) -> None:
        """Is called again and again.

        Raises:
            StudyError: nothing could start for `start_minutes`.
        """
        statuses = {trial.status for trial in trials}
        # A run of Ray Train's counts as running while it still waits for its workers.
        runs = "RUNNING" in statuses and (not self._resources.uses_ray_train or self._room.fits)
        if runs or not (self._deaths or statuses & {"PENDING", "RUNNING"}):
            self._moved = self._clock()
        elif self._clock() - self._moved >= 60 * self._resources.start_minutes:
            problems = list(resource_problems(self._resources, self._room.machines))
            problems.append("its processes end as they start." if self._deaths else "others hold its machines.")
            raise StudyError(
                f"the study: no run could start for {self._resources.start_minutes:g} minutes ({problems[0]}) "
                "Go on by --resume once there is room."
            )
