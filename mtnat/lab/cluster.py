"""Ray while a study runs, and how much of it fits there side by side."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import ray

from mtnat.lab.options import Options
from mtnat.lab.resources import Resources, cores


@contextmanager
def ray_cluster(options: Options) -> Iterator[Mapping[str, float]]:
    """Ray while the study runs, and the cluster's resources."""
    os.environ |= {
        # Actors are to find what the driver finds: the same folder, the same corpora.
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "MTNAT_DATA": str(Path(os.environ.get("MTNAT_DATA") or "data").absolute()),
        # Ray Train's controller, which starts inside a trial, lets workers report no more often than this.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
        # Ray's processes have dozens of threads; with a memory arena each, a reused one grew by half a gigabyte a run.
        "MALLOC_ARENA_MAX": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_PRINT_ALL_TRIAL_ERRORS": str(int(options.verbose)),
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
        ray.init(address=options.address, log_to_driver=options.verbose, logging_level=level)
    logging.getLogger("ray").setLevel(level)
    try:
        yield ray.cluster_resources()  # type: ignore[no-untyped-call]
    finally:
        ray.shutdown()


def runs_at_once(resources: Resources, cluster: Mapping[str, float]) -> int:
    """How many runs the cluster holds side by side."""
    return max(1, workers_at_once(resources, cluster) // resources.least_workers)


def workers_at_once(resources: Resources, cluster: Mapping[str, float]) -> int:
    """How many workers the cluster holds, whatever runs they belong to."""
    by_cpus = cluster.get("CPU", 0) // resources.cpus_per_worker
    gpus = resources.gpus_per_worker
    by_gpus = int(cluster.get("GPU", 0) / gpus + 1e-9) if gpus else by_cpus  # 1 // 0.2 is 4
    return max(1, int(min(by_cpus, by_gpus)))
