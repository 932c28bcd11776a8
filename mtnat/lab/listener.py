"""The driver's ear: what Tune reports goes to the agenda, to the tracker and to the screen, in one place."""

import json
from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from mtnat.config import write_yaml
from mtnat.lab.agenda import Agenda, Result, Run
from mtnat.lab.cluster import Patience
from mtnat.lab.console import Screen
from mtnat.lab.folder import HYPOTHESES, StudyFolder, read_result, write_result
from mtnat.lab.interruption import Interruption
from mtnat.lab.search import DriverOnly
from mtnat.lab.space import leaves
from mtnat.lab.storage import Storage
from mtnat.lab.tracking import Tracker
from mtnat.lab.trial import CURVES, RESULT, RUN, STEP, TOTAL_STEPS

ARTIFACTS = {"experiment.yaml": "", "model": "model", "validation.txt": "", HYPOTHESES: ""}
"""What is kept of a run's folder, and the artifact folder it goes to."""


class Listener(DriverOnly, tune.Callback):
    """Everything here may happen again after a kill, and then changes nothing."""

    def __init__(
        self,
        agenda: Agenda,
        folder: StudyFolder,
        storage: Storage,
        tracker: Tracker,
        screen: Screen,
        interruption: Interruption,
        patience: Patience,
        commit: str,
    ) -> None:
        self._agenda, self._folder, self._tracker, self._screen = agenda, folder, tracker, screen
        self._storage, self._interruption, self._patience = storage, interruption, patience
        self._tags = {"study": folder.name, "commit": commit}

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        run = _run(trial)
        self.begin(run)
        self._screen.started(run)

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        if RESULT in result or STEP not in result:
            return
        run, metrics = _run(trial), {name: value for name, value in result.items() if "/" in name}
        self._tracker.log(self.key(run), result[STEP], metrics)
        self._screen.progressed(run, result[STEP], result[TOTAL_STEPS], metrics)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._storage.fetch(_run(trial).id)
        result = read_result(self._folder.run(_run(trial).id))
        assert result is not None
        self._ended(_run(trial), result)

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        run = _run(trial)
        self._storage.fetch(run.id)
        folder = self._folder.run(run.id)
        known = read_result(folder) or Result(run=run.id)
        result = known.model_copy(update={"failed": f"its process ended: {_reason(trial)}"})
        write_result(folder, result)
        self._ended(run, result)

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self._interruption.check()
        self._patience.check(trials)
        self._screen.tick()

    def key(self, run: Run) -> str:
        """By which the tracker knows a run."""
        return f"{self._folder.id}/{run.id}"

    def begin(self, run: Run) -> None:
        """Makes a run known to the tracker; of an interrupted one, also the points that it has not heard of."""
        own = {
            "trial": run.trial,
            "kind": run.kind,
            "phase": run.phase,
            "seed": str(run.experiment.seed),
        }
        params = {path: value for path, value in leaves(run.experiment).items() if value is not None}
        name = f"{run.trial}, seed {run.experiment.seed}"
        self._tracker.begin(self.key(run), name, parent=self._folder.id, params=params, tags=self._tags | own)
        curves = self._folder.run(run.id) / CURVES
        if curves.exists():
            for line in curves.read_text(encoding="utf-8").split("\n"):
                if line.endswith("}}"):
                    point = json.loads(line)
                    self._tracker.log(self.key(run), point["step"], point["metrics"])

    def close(self, run: Run, result: Result) -> None:
        """Keeps what a run left, and closes it."""
        folder = self._folder.run(run.id)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "experiment.yaml").exists():
            (folder / "experiment.yaml").write_text(write_yaml(run.experiment), encoding="utf-8")
        for name, target in ARTIFACTS.items():
            if (folder / name).exists():
                self._tracker.keep(self.key(run), folder / name, target)
        tags = {"data_hash": result.data_hash, "failed": result.failed}
        self._tracker.tag(self.key(run), {name: value for name, value in tags.items() if value})
        if result.data_hash:
            data = run.experiment.data
            train = data.name_of("train")
            name = f"{train}, distilled" if data.distilled else train
            self._tracker.use(self.key(run), name, result.data_hash, data.distilled or train)
        self._tracker.end(self.key(run), "FAILED" if result.failed else "FINISHED")

    def catch_up(self) -> None:
        """Closes the runs that ended before a kill but were not heard of."""
        for trial in self._agenda.trials.values():
            for run in [self._agenda.search_run(trial), *self._agenda.confirm_runs(trial)]:
                result = self._agenda.results.get(run.id)
                tracked = self._tracker.find(self.key(run)) if result else None
                if result and (tracked is None or tracked.status not in ("FINISHED", "FAILED")):
                    self.begin(run)
                    self.close(run, result)

    def kill(self) -> None:
        """Marks the runs under way as killed."""
        for run in self._agenda.handed_out.values():
            if self._tracker.find(self.key(run)):
                self._tracker.end(self.key(run), "KILLED")

    def _ended(self, run: Run, result: Result) -> None:
        self.close(run, result)
        self._agenda.end(result)
        self._screen.ended(run, result)


def _run(trial: TuneTrial) -> Run:
    config: Mapping[str, str] = trial.config
    return Run.model_validate_json(config[RUN])


def _reason(trial: TuneTrial) -> str:
    """The last line of what Tune knows about a failure."""
    error = trial.get_error()
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "killed, or out of memory"
