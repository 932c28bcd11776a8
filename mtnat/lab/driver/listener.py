"""The driver's ear: what Tune reports goes to the agenda, to the tracker and to the screen, in one place."""

import shutil
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from mtnat.config import write_yaml
from mtnat.lab.cluster.room import Patience
from mtnat.lab.driver.interruption import Interruption
from mtnat.lab.driver.screen import Screen
from mtnat.lab.driver.searcher import DriverOnly
from mtnat.lab.outputs.clock import Clock
from mtnat.lab.outputs.curves import read_curves, read_point
from mtnat.lab.outputs.folder import HYPOTHESES_FILE, StudyFolder, read_result, write_result
from mtnat.lab.outputs.micro_batches import halve_batches
from mtnat.lab.outputs.runs import Result, Run
from mtnat.lab.outputs.storage import Storage
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.study.space import leaves
from mtnat.lab.tracking.tracker import Tracker
from mtnat.lab.worker.execute import MICRO_BATCHES, POINT
from mtnat.lab.worker.sessions import RUN
from mtnat.training.checkpoints import Checkpoints
from mtnat.training.fit import CHECKPOINTS, MODEL

ARTIFACTS = {"experiment.yaml": "", MODEL: MODEL, "validation.txt": "", HYPOTHESES_FILE: ""}
"""What is kept of a run's folder, and the artifact folder it goes to."""
MOST_DEATHS = 4
"""How often a run whose process died starts again without having come further; then it is what kills the process."""


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
        clock: Clock,
        patience: Patience,
        commit: str,
    ) -> None:
        self._agenda, self._folder, self._tracker, self._screen = agenda, folder, tracker, screen
        self._storage, self._interruption, self._clock, self._patience = storage, interruption, clock, patience
        self._kept = agenda.kept()
        """Trials whose models are on the disk."""
        self._open: dict[str, Run] = {}
        """Runs that the tracker knows of as running, by id."""
        self._deaths: Counter[tuple[str, int]] = Counter()
        """How often a run's process died, by the step of its newest checkpoint then."""
        self._tags = {"study": folder.name, "commit": commit}

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        run = _run(trial)
        self.begin(run)
        self._screen.started(run)

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        if MICRO_BATCHES in result:
            self._screen.say(f"{_run(trial).name}: ran out of memory; goes on with each batch in {result[MICRO_BATCHES]} parts")
        if POINT not in result:
            return
        run, (step, metrics) = _run(trial), read_point(result[POINT])
        self._patience.heard()
        self._tracker.log(self.key(run), step, metrics)
        self._screen.progressed(run, step, run.experiment.training.steps, metrics)
        if self._agenda.report(run, step, metrics):
            # It ends by itself: one that is killed leaves its workers' places taken, and its score looks like a whole one.
            self._storage.stop(run.id)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._storage.fetch(_run(trial).id)
        result = read_result(self._folder.run(_run(trial).id))
        assert result is not None
        self._ended(_run(trial), result)

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        run, error = _run(trial), trial.get_error()
        self._storage.fetch(run.id)
        folder = self._folder.run(run.id)
        step = max(Checkpoints(folder / CHECKPOINTS).steps(), default=0)
        if error is None:
            self._start_again(run, step, "before it was there")  # so it is none of the run's fault
            return
        if any(words in str(error) for words in ("OutOfMemory", "out of memory", "low on memory")):
            halve_batches(folder)
        self._died(run, step, _last_line(error))

    def lost(self, reason: str) -> None:
        """Every run under way has lost its process, through no fault that Tune could tell."""
        for run in list(self._agenda.handed_out.values()):
            self._storage.fetch(run.id)
            folder = self._folder.run(run.id)
            if (result := read_result(folder)) and self._agenda.results.get(run.id) != result:
                self.begin(run)  # it had ended, unheard
                self._ended(run, result)
                continue
            step = max(Checkpoints(folder / CHECKPOINTS).steps(), default=0)
            if self._deaths[run.id, step]:  # not the first time, so it may be this one that takes too much
                halve_batches(folder)
            self._died(run, step, reason)

    def _died(self, run: Run, step: int, reason: str) -> None:
        """Has a run start again, unless it has died there too often."""
        if self._deaths[run.id, step] < MOST_DEATHS:
            self._deaths[run.id, step] += 1
            self._start_again(run, step, reason)
            return
        folder = self._folder.run(run.id)
        known = read_result(folder) or Result(run=run.id)
        result = known.model_copy(update={"failed": f"its process ended {MOST_DEATHS + 1} times at step {step}: {reason}"})
        write_result(folder, result)
        self.begin(run)  # it may have died before it was heard of
        self._ended(run, result)

    def _start_again(self, run: Run, step: int, reason: str) -> None:
        self._patience.died()
        self._agenda.put_back(run)
        self._screen.died(run, step, reason)

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        self._interruption.check()
        self._clock.tick()
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
        } | ({"rung": str(run.rung)} if run.rung else {})
        params = {path: value for path, value in leaves(run.experiment).items() if value is not None}
        self._tracker.begin(self.key(run), run.name, parent=self._folder.id, params=params, tags=self._tags | own)
        self._open[run.id] = run
        for step, metrics in read_curves(self._folder.run(run.id)):
            self._tracker.log(self.key(run), step, metrics)

    def close(self, run: Run, result: Result) -> None:
        """Keeps what a run left, and closes it."""
        folder = self._folder.run(run.id)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "experiment.yaml").exists():
            (folder / "experiment.yaml").write_text(write_yaml(run.experiment), encoding="utf-8")
        if run.trial not in self._kept or run.rung:
            shutil.rmtree(folder / MODEL, ignore_errors=True)
        for name, target in ARTIFACTS.items():
            if (folder / name).exists():
                self._tracker.keep(self.key(run), folder / name, target)
        tags = {"data_hash": result.data_hash, "failed": result.failed, "pruned": result.pruned}
        self._tracker.tag(self.key(run), {name: str(value) for name, value in tags.items() if value})
        if result.data_hash:
            data = run.experiment.data
            train = data.name_of("train")
            name = f"{train}, distilled" if data.distilled else train
            self._tracker.use(self.key(run), name, result.data_hash, data.distilled or train)
        self._tracker.end(self.key(run), "FAILED" if result.failed else "FINISHED")
        del self._open[run.id]

    def catch_up(self) -> None:
        """Closes the runs that ended before a kill but were not heard of."""
        for trial in self._agenda.trials.values():
            if trial.name not in self._kept:
                self._drop_model(trial.name)
            for run in self._agenda.runs(trial):
                result = self._agenda.results.get(run.id)
                if result and self._tracker.status(self.key(run)) not in ("FINISHED", "FAILED"):
                    self.begin(run)
                    self.close(run, result)

    def kill(self) -> None:
        """Marks as killed whatever is not closed: runs under way, and those whose end was just being taken down."""
        for run in self._open.values():
            self._tracker.end(self.key(run), "KILLED")

    def _ended(self, run: Run, result: Result) -> None:
        self._agenda.end(result)
        beaten = self._kept - (kept := self._agenda.kept())
        self._kept = kept
        self.close(run, result)
        for name in beaten:
            self._drop_model(name)
        self._screen.ended(run, result)

    def _drop_model(self, name: str) -> None:
        """Frees what the model of a proposal that others have beaten takes."""
        run = self._agenda.search_run(self._agenda.trials[name])
        if (model := self._folder.run(run.id) / MODEL).exists():
            shutil.rmtree(model)
            self._tracker.drop(self.key(run), MODEL)


def _run(trial: TuneTrial) -> Run:
    config: Mapping[str, str] = trial.config
    return Run.model_validate_json(config[RUN])


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "killed"
