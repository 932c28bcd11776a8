"""What happens where a run runs: inside Tune's actor, or in Ray Train's workers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
from ray import tune
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback

from mtnat.lab.agenda import Run
from mtnat.lab.folder import StudyFolder
from mtnat.lab.performance import perform
from mtnat.lab.resources import Resources
from mtnat.training import Alone, Distributed, Workers

RUN = "run"
"""Key of a Tune config."""
MOST_FAILURES = 2
"""How often a run whose process died is tried again; it goes on from its checkpoint."""


class TuneSession:
    """One worker, in the trial's actor itself."""

    def __init__(self, resources: Resources) -> None:
        torch.set_num_threads(resources.cpus_per_worker)
        self.resources = resources
        self.workers: Workers = Alone("auto" if resources.gpus_per_worker else "cpu")

    def report(self, report: Mapping[str, Any]) -> None:
        tune.report(dict(report))


class TrainSession:
    """One of several Ray Train workers."""

    def __init__(self, resources: Resources) -> None:
        torch.set_num_threads(resources.cpus_per_worker)
        self.resources = resources
        self.workers: Workers = Distributed(ray.train.torch.get_device())

    def report(self, report: Mapping[str, Any]) -> None:
        ray.train.report(dict(report))


def trainable(config: Mapping[str, str], study_folder: Path, resources: Resources) -> None:
    """The Tune function: one run, in this actor or in workers that it starts."""
    if resources.workers == 1:
        perform(Run.model_validate_json(config[RUN]), StudyFolder(study_folder), TuneSession(resources))
    else:
        _train_together(config, StudyFolder(study_folder), resources)


def _train_together(config: Mapping[str, str], folder: StudyFolder, resources: Resources) -> None:
    """Runs Ray Train's workers and passes their reports on; an equal name makes it find itself again after a failure."""
    run = Run.model_validate_json(config[RUN])
    on_gpus = resources.gpus_per_worker > 0
    TorchTrainer(
        _train_worker,
        train_loop_config={RUN: config[RUN], "folder": str(folder.path), "resources": resources.model_dump_json()},
        torch_config=TorchConfig(backend="nccl" if on_gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=resources.workers,  # type: ignore[arg-type]  # its types lag behind its elastic groups
            use_gpu=on_gpus,
            resources_per_worker={"CPU": resources.cpus_per_worker, "GPU": resources.gpus_per_worker},
        ),
        # Ray's types know only Train's first version, which is not the one that runs.
        run_config=RunConfig(  # type: ignore[call-arg]
            name=f"{run.id}-{run.phase}",
            storage_path=str(folder.executor / "train"),
            callbacks=[TuneReportCallback()],  # type: ignore[no-untyped-call,list-item]
            failure_config=FailureConfig(  # type: ignore[call-arg]
                max_failures=MOST_FAILURES, controller_failure_limit=MOST_FAILURES
            ),
            worker_runtime_env={"env_vars": {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2"}},
        ),
    ).fit()


def _train_worker(config: Mapping[str, str]) -> None:
    resources = Resources.model_validate_json(config["resources"])
    perform(Run.model_validate_json(config[RUN]), StudyFolder(Path(config["folder"])), TrainSession(resources))
