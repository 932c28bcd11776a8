"""The connection to Ray: started on this machine, or a running cluster."""

import json
import logging
import os
import secrets
import signal
import socket
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import ray
import ray.exceptions

from mtnat.errors import ConfigError, ResourceError
from mtnat.lab.cluster.interruption import Interruption
from mtnat.lab.cluster.watch import MARK, RayWatch
from mtnat.lab.study.options import Options
from mtnat.lab.study.resources import Resources, cores
from mtnat.process import TUNABLES

PACKAGE = Path(__file__).parents[2]
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""The environment variable in which Ray gives a job's process the configuration of the job."""
SECONDS_TO_ANSWER = 10.0
SOCKET = "/ray/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"
"""The longest path of a socket that Ray makes in its temporary folder."""
LONGEST_SOCKET = 107
"""Largest number of bytes in the path of a Unix socket."""
SHORT_TEMPORARY_FOLDER = "/tmp"


@contextmanager
def ray_cluster(options: Options, resources: Resources, interruption: Interruption | None = None) -> Iterator["Connection"]:
    """Connects to Ray for the duration of the context, in which `sys.stdout` is not shown unless the study is verbose.

    Ray prints messages on lost machines there, with twenty lines of its log, and has no option against it.

    Raises:
        ConfigError: a study cannot use an address of this kind.
        ResourceError: no cluster answers at the address, or Ray does not start on this machine.
        KeyboardInterrupt: a process of Ray on this machine has ended; the interruption has the reason.
    """
    with nullcontext() if options.verbose else open(os.devnull, "w") as nowhere, redirect_stdout(nowhere or sys.stdout):
        connection = Connection(options, resources, interruption or Interruption())
        try:
            yield connection
        finally:
            connection.close()


class Connection:
    """The connection of this process to Ray."""

    def __init__(self, options: Options, resources: Resources, interruption: Interruption) -> None:
        self._options, self._resources, self._interruption = options, resources, interruption
        self._watch: RayWatch | None = None
        self._open()

    def reopen(self) -> None:
        """Releases all actors and placement groups of this process, and connects again."""
        self._interruption.check()
        self.close()
        self._open()

    def close(self) -> None:
        """Ends the connection, and Ray where this process has started it."""
        watch, self._watch = self._watch, None
        if watch:
            watch.stop()
        if watch and self._interruption.lost:
            watch.clear_away()
        else:
            ray.shutdown()

    def _open(self) -> None:
        # Ray replaces the handler of SIGTERM, once in Python and once in C++, where it ends the process with a stack trace.
        handler = signal.getsignal(signal.SIGTERM)
        try:
            _connect(self._options, self._resources)
        except SystemExit:  # that of Ray's handler in Python
            self._interruption.is_wanted = True
            raise KeyboardInterrupt from None
        finally:
            signal.signal(signal.SIGTERM, handler)
        if self._options.address is None:
            self._watch = RayWatch(self._interruption, f"`{self._options.resume_command}` continues the study.")


def _connect(options: Options, resources: Resources) -> None:
    settings = _environment(resources)
    os.environ |= settings | {
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_PRINT_ALL_TRIAL_ERRORS": str(int(options.verbose)),
        # Seconds between Tune's snapshots of all trials. They are not used: a study resumes from its own folder.
        "TUNE_GLOBAL_CHECKPOINT_S": "31536000",
    }
    level = logging.INFO if options.verbose else logging.CRITICAL
    if options.address is None:
        _start(log_to_driver=options.verbose, logging_level=level)
    else:
        _join(options.address, settings, log_to_driver=options.verbose, logging_level=level)
    logging.getLogger("ray").setLevel(level)


def _environment(resources: Resources) -> dict[str, str]:
    """Returns the environment variables that actors on every machine must share with the driver."""
    folders = {"MTNAT_DATA": os.environ.get("MTNAT_DATA") or "data", "MTNAT_CACHE": os.environ.get("MTNAT_CACHE")}
    paths = {name: str(Path(folder).absolute()) for name, folder in folders.items() if folder}
    tunables = {name: os.environ.get(name, text) for name, text in TUNABLES.items()}
    processes = {
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        # Ray's processes have dozens of threads. With one memory arena per thread, a reused actor grew by 0.5 GB with each run.
        "MALLOC_ARENA_MAX": "1",
        # The controller of Ray Train, which starts inside a trial, limits how often workers report to once per interval.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(60 * resources.start_minutes),
        # Ray Train considers a worker dead that does not answer for this long. Tune has no such check for its own actors.
        "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": str(60 * resources.silent_minutes),
    }
    return paths | tunables | processes


def _start(**options: Any) -> None:
    """Starts Ray on this machine."""
    choose_temporary_folder()
    close_token()
    os.environ[MARK] = uuid.uuid4().hex
    try:
        ray.init(address="local", num_cpus=cores(), include_dashboard=False, **options)
    except Exception as error:  # Ray raises a plain Exception if its processes do not start in time
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise ResourceError(
            f"Ray did not start on this machine ({reason}); end other programs if they keep it busy, and start the study again."
        ) from None


def close_token() -> None:
    """Makes the file with Ray's token readable for its owner only, because the token allows to run code on this Ray.

    Ray would write it as the user's umask says, usually so that every user of the machine can read it. A token that the user
    has named (`$RAY_AUTH_TOKEN`, `$RAY_AUTH_TOKEN_PATH`) stays as it is.
    """
    if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        return
    file = Path.home() / ".ray" / "auth_token"
    with suppress(OSError):  # a home that cannot be written: Ray says so
        file.parent.mkdir(exist_ok=True)
        try:
            descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            file.chmod(0o600)
        else:
            with open(descriptor, "w") as written:
                written.write(secrets.token_hex(32))


def choose_temporary_folder() -> None:
    """Lets Ray use /tmp if the path of `$TMPDIR` is too long for its sockets.

    Raises:
        ResourceError: `$RAY_TMPDIR`, which Ray prefers, is too long.
    """
    most = LONGEST_SOCKET - len(SOCKET)
    chosen = os.environ.get("RAY_TMPDIR")
    if chosen is None:
        if len(os.fsencode(os.environ.get("TMPDIR", ""))) > most:
            os.environ["RAY_TMPDIR"] = SHORT_TEMPORARY_FOLDER
    elif len(os.fsencode(chosen)) > most:
        raise ResourceError(f"RAY_TMPDIR: {chosen} is too long a path for Ray's sockets; name one of at most {most} bytes.")


def _join(address: str, settings: Mapping[str, str], **options: Any) -> None:
    """Connects to a running cluster, and sends the settings and this package to its machines."""
    if "://" in address:
        raise ConfigError(
            f"--address: a study cannot be driven through {address}; submit it with `ray job submit`, "
            "or start it on one of the cluster's machines and give auto or HOST:PORT."
        )
    job = _job()
    # The variables of a job also apply to its actors, and Ray refuses to set one twice.
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
    """Raises an OSError if nothing answers at the address; Ray would take minutes to report it."""
    host, _, port = address.rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_ANSWER).close()


def _job() -> Mapping[str, Any] | None:
    """Returns the runtime environment of this process if ``ray job submit`` started it, otherwise None."""
    config = os.environ.get(JOB)
    return (json.loads(config).get("runtime_env") or {}) if config else None


def job_problems(outputs: Path, tracking_uri: str) -> Iterator[str]:
    """Yields a problem for each output of a job in its working folder, which Ray removes when the job ends."""
    if "working_dir" not in (_job() or {}):
        return
    if outputs.absolute().is_relative_to(Path.cwd()):
        yield f"--outputs: {outputs} lies in the job's working folder, which is removed when it ends; give a permanent folder."
    if tracking_uri.startswith("sqlite:///") and Path(tracking_uri.removeprefix("sqlite:///")).is_relative_to(Path.cwd()):
        yield "--tracking-uri: the job's working folder is removed when it ends; give a server, or sqlite:////folder/mlflow.db."
