"""The sessions in which runs execute: in the actor of Ray Tune, or in the workers of Ray Train."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
from ray import tune
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback

from mtnat.lab.outputs.runs import Run
from mtnat.lab.outputs.storage import Storage
from mtnat.lab.study.resources import Resources
from mtnat.lab.worker.execute import RESULT, execute
from mtnat.training import Alone, Distributed, Workers

RUN, RUN_ID = "run", "run_id"
"""Keys of a Tune config: the run as JSON, for its worker; its id, for the driver, which has the run."""
MOST_FAILURES = 2
"""How often Ray Train restarts the workers of a run whose process died; they continue from the run's checkpoint."""


class TuneSession:
    """A single worker, in the actor of Ray Tune."""

    def __init__(self, run: str, storage: Storage, resources: Resources) -> None:
        torch.set_num_threads(resources.cpus_per_worker)
        self.resources = resources
        self.workers: Workers = Alone("auto" if resources.gpus_per_worker else "cpu")
        self._run, self._storage = run, storage
        storage.restore(run)

    def report(self, report: Mapping[str, Any], *, has_checkpoint: bool = False) -> None:
        if has_checkpoint or RESULT in report:
            self._storage.send(self._run)
        tune.report(dict(report))
        if has_checkpoint:
            self._storage.fetch_stop(self._run)

    def bring(self, run: str) -> Path:
        return self._storage.bring(self._run, run)


class TrainSession:
    """One of the workers of Ray Train."""

    def __init__(self, run: str, storage: Storage, resources: Resources) -> None:
        torch.set_num_threads(resources.cpus_per_worker)
        self.resources = resources
        self.workers: Workers = Distributed(ray.train.torch.get_device())
        self._run, self._storage = run, storage
        self.is_first_here = ray.train.get_context().get_local_rank() == 0
        if self.is_first_here:
            storage.restore(run)
        self.workers.meet()

    def report(self, report: Mapping[str, Any], *, has_checkpoint: bool = False) -> None:
        if has_checkpoint or RESULT in report:
            if self.workers.leads:
                self._storage.send(self._run)
            self.workers.meet()
        if has_checkpoint and self.is_first_here and not self.workers.leads:
            self._storage.restore(self._run)  # the first worker on every other machine gets the files of the leading worker
        ray.train.report(dict(report))
        if has_checkpoint and self.is_first_here:
            self._storage.fetch_stop(self._run)

    def bring(self, run: str) -> Path:
        return self._storage.bring(self._run, run)


def trainable(config: Mapping[str, str], storage: Storage, resources: Resources) -> None:
    """Tune's function: executes one run in this actor, or in workers that it starts."""
    if resources.uses_ray_train:
        _train_together(config, storage, resources)
    else:
        run = Run.model_validate_json(config[RUN])
        execute(run, storage.workplace, TuneSession(run.id, storage, resources))
        storage.leave(run.id)


def _train_together(config: Mapping[str, str], storage: Storage, resources: Resources) -> None:
    """Runs the workers of Ray Train and passes their reports on. Ray Train finds its state again by the name after a
    failure."""
    run = Run.model_validate_json(config[RUN])
    on_gpus = resources.gpus_per_worker > 0
    TorchTrainer(
        partial(_train_worker, storage=storage, resources=resources),
        train_loop_config={RUN: config[RUN]},
        torch_config=TorchConfig(backend="nccl" if on_gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=resources.workers,  # type: ignore[arg-type]  # Ray's types do not have elastic groups yet
            use_gpu=on_gpus,
            resources_per_worker={"CPU": resources.cpus_per_worker, "GPU": resources.gpus_per_worker},
        ),
        # Ray's types are those of Train's first version; the second one is in use.
        run_config=RunConfig(
            name=f"{run.id}-{run.phase}",
            storage_path=f"{storage.executor}/train",
            callbacks=[TuneReportCallback()],  # type: ignore[no-untyped-call,list-item]
            failure_config=FailureConfig(  # type: ignore[call-arg]
                max_failures=MOST_FAILURES, controller_failure_limit=MOST_FAILURES
            ),
        ),
    ).fit()


def _train_worker(config: Mapping[str, str], storage: Storage, resources: Resources) -> None:
    run = Run.model_validate_json(config[RUN])
    session = TrainSession(run.id, storage, resources)
    execute(run, storage.workplace, session)
    if session.is_first_here:
        storage.leave(run.id)
