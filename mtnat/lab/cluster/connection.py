"""Ray while a study runs: started on this machine, or joined."""

import json
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.exceptions

from mtnat.errors import ConfigError, ResourceError
from mtnat.lab.study.options import Options
from mtnat.lab.study.resources import Resources, cores
from mtnat.process import TUNABLES

PACKAGE = Path(__file__).parents[2]
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""The variable by which Ray tells a job's process how it was submitted."""
SECONDS_TO_ANSWER = 10.0


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
