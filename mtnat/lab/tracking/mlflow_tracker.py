"""MLflow as the tracker."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.entities.lifecycle_stage import LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from mtnat.lab.tracking.tracker import MOST_DIGEST_CHARACTERS, Status, Tracked, as_text

KEY = "mtnat.run"
"""Tag with the key of a run, by which the run is found; a key has no quotes."""
MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}
"""Makes the UI open with runs and their curves instead of traces of language models."""
MOST_PARAMS_AT_ONCE, MOST_POINTS_AT_ONCE = 100, 1_000
"""MLflow's limits for one call."""
REFUSALS = frozenset({"INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"})
"""Codes of the errors of MLflow after which a repeated call fails again."""
SHARE_OF_TIME, MOST_SAVED_SECONDS = 0.05, 2.0
"""The share of the driver's time that may be spent on curves. Unused time is saved for later, up to this number of seconds."""


def quiet_mlflow() -> None:
    """Keeps MLflow from printing its progress, and the stacks of errors that it also raises."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def is_refusal(error: Exception) -> bool:
    """Returns whether an error means that MLflow works, but does not accept a call, such as one for a run that was deleted. A
    KeyError means that an earlier call, which creates the run, was refused."""
    return isinstance(error, KeyError) or (isinstance(error, MlflowException) and error.error_code in REFUSALS)


class MlflowTracker:
    """MLflow at any tracking URI. The constructor creates the database and the experiment, before any other process opens them.

    A call takes 5 ms for one point and 150 ms for a thousand. Points that arrive faster than one call each can send them are
    buffered and sent together, at the latest when their run ends. A kill loses buffered points; they are still in the run's
    folder, from which they are logged again when the run begins again.
    """

    def __init__(
        self, uri: str, experiment: str, artifacts: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            artifacts: absolute URI of the files; None if the server decides it.
            clock: returns seconds; a share of them may be spent on curves.
        """
        quiet_mlflow()
        self._client = mlflow.MlflowClient(tracking_uri=uri)
        found = self._client.get_experiment_by_name(experiment)
        if found and found.lifecycle_stage != LifecycleStage.ACTIVE:
            raise MlflowException(f"its experiment {found.experiment_id} was deleted, which is named {experiment}")
        self._experiment_id = (
            found.experiment_id
            if found
            else self._client.create_experiment(experiment, artifact_location=artifacts, tags=MODEL_TRAINING)
        )
        self._ids: dict[str, str] = {}
        self._new: set[str] = set()
        """Keys of the runs that this object created. Runs below them cannot exist yet, which saves a search for each."""
        self._tried: set[str] = set()
        """Keys of the runs that this object tried to create; after an error they may exist."""
        self._last_steps: dict[str, dict[str, int]] = {}
        self._waiting: dict[str, list[Metric]] = {}
        """Buffered points by key, the key that has waited longest first."""
        self._clock, self._looked_at_clock, self._saved_seconds = clock, clock(), MOST_SAVED_SECONDS

    def begin(
        self,
        key: str,
        name: str,
        parent: str | None = None,
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        if key in self._ids:
            self._reopen(self._ids[key], tags or {})
            return
        found = None if parent in self._new and key not in self._tried else self._find(key)
        if found:
            run_id, curves = found.info.run_id, self._curves(found)
            self._reopen(run_id, tags or {})
        else:
            self._tried.add(key)
            own = {KEY: key, MLFLOW_RUN_NAME: name} | ({MLFLOW_PARENT_RUN_ID: self._ids[parent]} if parent else {})
            run_id = self._client.create_run(self._experiment_id, tags={**(tags or {}), **own}).info.run_id
            curves = {}
            self._new.add(key)
        known = found.data.params if found else {}  # not all of them, if the process was killed in between
        entries = [Param(path, as_text(value)) for path, value in (params or {}).items() if path not in known]
        for start in range(0, len(entries), MOST_PARAMS_AT_ONCE):
            self._client.log_batch(run_id, params=entries[start : start + MOST_PARAMS_AT_ONCE])
        # Last, so that a call that is repeated after an error does all of this again.
        self._ids[key] = run_id
        self._last_steps[key] = {metric: max(points) for metric, points in curves.items()}

    def _reopen(self, run_id: str, tags: Mapping[str, str]) -> None:
        self._client.update_run(run_id, status="RUNNING")
        self._tag(run_id, tags)

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        self._tag(self._ids[key], tags)

    def _tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        self._client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def log(self, key: str, step: int, metrics: Mapping[str, float]) -> None:
        last = self._last_steps[key]
        new = {name: value for name, value in metrics.items() if step > last.get(name, -1)}
        now = int(time.time() * 1000)
        self._waiting.setdefault(key, []).extend(Metric(name, value, now, step) for name, value in new.items())
        last.update(dict.fromkeys(new, step))
        clock = self._clock()
        self._saved_seconds += SHARE_OF_TIME * (clock - self._looked_at_clock)
        self._saved_seconds, self._looked_at_clock = min(self._saved_seconds, MOST_SAVED_SECONDS), clock
        if self._saved_seconds > 0:
            self._write(next(iter(self._waiting)))

    def _write(self, key: str) -> None:
        """Sends the buffered points of a run."""
        started = time.perf_counter()
        points = self._waiting.get(key, [])
        while points:  # those that were sent are removed at once, so that an error loses none and repeats none
            self._client.log_batch(self._ids[key], metrics=points[:MOST_POINTS_AT_ONCE])
            del points[:MOST_POINTS_AT_ONCE]
        self._waiting.pop(key, None)
        self._saved_seconds -= time.perf_counter() - started

    def keep(self, key: str, path: Path, folder: str = "") -> None:
        if path.is_dir():
            self._client.log_artifacts(self._ids[key], str(path), folder or None)
        else:
            self._client.log_artifact(self._ids[key], str(path), folder or None)

    def drop(self, key: str, folder: str) -> None:
        run = self._find(key)
        if run and self._client.list_artifacts(run.info.run_id, folder):
            # The client can only list and add; `mlflow gc` removes files in the same way.
            repository = get_artifact_repository(run.info.artifact_uri, self._client.tracking_uri)
            repository.delete_artifacts(folder)  # type: ignore[no-untyped-call]

    def use(self, key: str, dataset: str, digest: str, source: str) -> None:
        entity = Dataset(dataset, digest[:MOST_DIGEST_CHARACTERS], source_type="local", source=json.dumps({"uri": source}))
        tags = [InputTag(MLFLOW_DATASET_CONTEXT, "training")]
        self._client.log_inputs(self._ids[key], datasets=[DatasetInput(entity, tags)])

    def end(self, key: str, status: Status) -> None:
        self._write(key)
        self._client.set_terminated(self._ids[key], status)

    def status(self, key: str) -> Status | None:
        run = self._find(key)
        return cast("Status", run.info.status) if run else None

    def find(self, key: str) -> Tracked | None:
        self._write(key)
        run = self._find(key)
        if run is None:
            return None
        parent_id = run.data.tags.get(MLFLOW_PARENT_RUN_ID)
        return Tracked(
            name=run.info.run_name,
            parent=self._client.get_run(parent_id).data.tags[KEY] if parent_id else None,
            status=run.info.status,
            params=dict(run.data.params),
            tags={name: value for name, value in run.data.tags.items() if name != KEY and not name.startswith("mlflow.")},
            curves=self._curves(run),
            artifacts=self._files(run.info.run_id, ""),
            datasets={each.dataset.name: each.dataset.digest for each in (run.inputs.dataset_inputs if run.inputs else [])},
        )

    def _find(self, key: str) -> MlflowRun | None:
        runs = self._client.search_runs([self._experiment_id], filter_string=f"tags.`{KEY}` = '{key}'", max_results=1)
        return runs[0] if runs else None

    def _curves(self, run: MlflowRun) -> dict[str, dict[int, float]]:
        history = self._client.get_metric_history
        return {name: {point.step: point.value for point in history(run.info.run_id, name)} for name in run.data.metrics}

    def _files(self, run_id: str, folder: str) -> list[str]:
        entries = self._client.list_artifacts(run_id, folder)
        return sorted(
            path for entry in entries for path in (self._files(run_id, entry.path) if entry.is_dir else [str(entry.path)])
        )
