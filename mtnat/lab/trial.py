"""What happens where a run runs: inside Tune's actor, or in Ray Train's workers."""

import json
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import ray.train
import ray.train.torch
import torch
from ray import tune
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback

from mtnat.data import prepare
from mtnat.errors import MtnatError
from mtnat.files import locked, write_whole
from mtnat.lab.agenda import Result, Run
from mtnat.lab.folder import HYPOTHESES, StudyFolder, read_result, write_result
from mtnat.lab.resources import Resources
from mtnat.training import Alone, Distributed, Workers, evaluate_split, fit, load_model
from mtnat.training.fit import MODEL
from mtnat.training.memory import give_back_memory

RUN, STEP, TOTAL_STEPS, RESULT = "run", "step", "total_steps", "result"
"""Keys of a Tune config, and of the reports beside the metrics."""
ERROR, CURVES = "error.txt", "curves.jsonl"
"""Files of a run's folder: the traceback of one that failed unforeseen; every point of its curves, one a line."""
MOST_FAILURES = 2
"""How often a run whose process died is tried again; it goes on from its checkpoint."""


class Session(Protocol):
    """Where a run runs: who shares the work, and who listens."""

    workers: Workers

    def report(self, report: Mapping[str, Any]) -> None:
        """Tells the driver; every worker says the same."""


class TuneSession:
    """One worker, in the trial's actor itself."""

    def __init__(self, resources: Resources) -> None:
        torch.set_num_threads(resources.cpus_per_worker)
        self.workers: Workers = Alone("auto" if resources.gpus_per_worker else "cpu")

    def report(self, report: Mapping[str, Any]) -> None:
        tune.report(dict(report))


class TrainSession:
    """One of several Ray Train workers."""

    def __init__(self, resources: Resources) -> None:
        torch.set_num_threads(resources.cpus_per_worker)
        self.workers: Workers = Distributed(ray.train.torch.get_device())

    def report(self, report: Mapping[str, Any]) -> None:
        ray.train.report(dict(report))


def perform(run: Run, study_folder: StudyFolder, session: Session) -> None:
    """Trains a run, or goes on with it, scores it on the test set in the confirm phase, takes down what came of it and reports.

    What goes wrong inside is a result too. Only the death of a process reaches Tune as an error, and, where several workers
    train together, whatever could strike one of them alone and leave the others waiting.
    """
    folder = study_folder.run(run.id)
    folder.mkdir(parents=True, exist_ok=True)
    with _owned(folder, session.workers):
        known = read_result(folder) or Result(run=run.id)
        started = time.perf_counter()
        try:
            result = _train_and_score(run, folder, known, session)
        except MtnatError as error:
            result = known.model_copy(update={"failed": " ".join(str(error).split())})
        except Exception as error:
            if session.workers.size > 1:
                raise
            (folder / ERROR).write_text(traceback.format_exc(), encoding="utf-8")
            result = known.model_copy(update={"failed": f"{type(error).__name__}: {error} (see {ERROR} in its folder)"})
        result = result.model_copy(update={"seconds": known.seconds + time.perf_counter() - started})
        if session.workers.leads:
            write_result(folder, result)
    give_back_memory()
    session.report({RESULT: result.model_dump_json()})


def _train_and_score(run: Run, folder: Path, known: Result, session: Session) -> Result:
    dataset = prepare(run.experiment.data)
    total = run.experiment.training.steps
    valid: float | None = None
    for progress in fit(run.experiment, dataset, folder, workers=session.workers):
        _report(progress.step, total, progress.metrics, folder, session)
        valid = progress.metrics.get("final/valid_bleu")
    result = known.model_copy(update={"valid": valid, "data_hash": dataset.fingerprint, "failed": None})
    if run.phase == "search":
        return result
    model = load_model(folder / MODEL, session.workers.device)
    scored = evaluate_split(model, dataset.test, session.workers)
    if session.workers.leads:
        write_whole(folder / HYPOTHESES, "".join(f"{line}\n" for line in scored.translations).encode())
    _report(progress.step, total, {"test/bleu": scored.bleu.value}, folder, session)
    return result.model_copy(update={"test": scored.bleu.value, "signature": scored.bleu.signature})


def _report(step: int, total_steps: int, metrics: Mapping[str, float], folder: Path, session: Session) -> None:
    """Tells the driver a point of the curves, and keeps it for one that did not live to hear it."""
    if session.workers.leads:
        with (folder / CURVES).open("a", encoding="utf-8") as file:
            file.write(json.dumps({STEP: step, "metrics": dict(metrics)}) + "\n")
    session.report({STEP: step, TOTAL_STEPS: total_steps, **metrics})


@contextmanager
def _owned(folder: Path, workers: Workers) -> Iterator[None]:
    """Keeps a second process out of a run's folder: after the driver was killed, its actors live on for a moment."""
    with locked(folder / "run.lock") if workers.leads else nullcontext():
        workers.meet()
        yield


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
