"""The order of a study's runs, and their results. It uses neither Ray nor Optuna nor MLflow."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from mtnat.config import replace
from mtnat.errors import ConfigError
from mtnat.lab.outputs.runs import AnalysisPlan, Kind, Result, Run, Trial
from mtnat.lab.plan.proposer import Proposer
from mtnat.lab.plan.ranking import Ranking
from mtnat.lab.plan.trial_runs import TrialRuns
from mtnat.lab.study.record import PROPOSAL_NAME, Settings, Study
from mtnat.lab.study.searching import METRICS


class Agenda:
    """Decides which run is next: 1. the baselines, 2. the proposals, 3. with a horizon, the best proposals of a rung with the
    next T, 4. the confirm phase: baselines and best proposals with the other seeds, the longest runs first, 5. the analysis of
    the encoders of all confirmed runs, 6. the measurements of speed, one at a time.

    The confirm phase of the baselines begins while the last proposals still run, because it does not depend on their results.
    """

    def __init__(
        self,
        study: Study,
        proposer: Proposer,
        results: Mapping[str, Result],
        *,
        inherited: Mapping[str, Settings] | None = None,
        is_spent: Callable[[], bool] = lambda: False,
        is_settled: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            results: the results of an interrupted study by run id; runs without a result start again.
            inherited: settings of finished trials of other studies; their results are among ``results``.
            is_spent: returns whether the time budget has been used up.
            is_settled: returns whether the confirm phase can end with `seeds`; it is asked at each look, when all runs with
                these seeds have ended.
        """
        self._study, self._proposer, self._is_spent, self._is_settled = study, proposer, is_spent, is_settled
        self._look = 0
        """Number of looks (`Confirm.looks`) after which the confirm phase was continued."""
        self._has_settled = False
        self._exhausted = False
        """Whether there will be no more proposals, because the space or the budget is exhausted."""
        self._wanted = study.proposals
        self._inherited = dict(inherited or {})
        self._experiments: set[str] = set()
        self._queue: dict[str, Run] = {}
        """Runs that can start at any time, by id, the next one first."""
        self._ended: set[str] = set()
        """Ids of the runs of this plan that have ended; `results` can have others, such as the teacher's."""
        self._measured: set[tuple[str, str]] = set()
        """Ids of the runs whose encoder was analysed, or whose speed was measured, or for which that failed; with the phase."""
        self._ranking = Ranking(study.objectives, study.experiment.decoder)
        self._proposals: list[Trial] = []
        """The trials that this study's sampler has proposed."""
        self.results: dict[str, Result] = dict(results)
        self.trials: dict[str, Trial] = {}
        self._runs: dict[str, TrialRuns] = {}
        self.handed_out: dict[str, Run] = {}
        """Runs in progress, by id."""
        for name, settings in {**study.baselines, **self._inherited, **proposer.known()}.items():
            kind: Kind = "baseline" if name in study.baselines else "trial"
            trial = self._add(Trial(name, kind, settings, replace(study.experiment, settings)))
            self._ended |= {run.id for run in self.runs(trial).all if run.id in self.results}
            if self._is_open(first := self.runs(trial).search[0]):
                self._queue[first.id] = first
            self._tell(trial)

    def next(self) -> Run | None:
        """Returns the next run; None while the plan waits for results, and when it is finished."""
        run = self._peek()
        if run:
            self._queue.pop(run.id, None)
            self.handed_out[run.id] = run
        return run

    def report(self, run: Run, step: int, metrics: Mapping[str, float]) -> bool:
        """Passes the metrics of a run on to the pruner, and returns whether the run is to end at this step."""
        curve = METRICS[self._study.metric].curve
        if not self._study.pruner or run.phase != "search" or not self._is_proposed(run.trial):
            return False
        if curve is None or curve not in metrics:
            return False
        is_behind = self._proposer.report(run.trial, step, metrics[curve])
        return is_behind and step < run.experiment.training.steps

    def put_back(self, run: Run) -> None:
        """Makes a run in progress the next one to start."""
        self._queue = {run.id: self.handed_out.pop(run.id)} | self._queue

    def end(self, result: Result) -> None:
        """Records the result of a run in progress."""
        run = self.handed_out.pop(result.run)
        self.results[run.id] = result
        self._ended.add(run.id)
        self._measured.add((run.id, run.phase))
        trial = self.trials[run.trial]
        self._rank(trial)
        if run.phase == "search" and run.id == self.runs(trial).search[0].id:
            self._tell(trial)

    @property
    def is_finished(self) -> bool:
        """Whether all runs have ended."""
        return not self.handed_out and self._peek() is None

    @property
    def planned(self) -> tuple[int, int]:
        """Number of trainings that have ended, and the expected number of all trainings."""
        study = self._study
        proposals = len(self._proposals)
        expected = proposals if self._exhausted else max(proposals, self._wanted)
        total = len(study.baselines) + len(self._inherited) + sum(study.horizon.runs(expected) if study.horizon else [expected])
        if confirm := study.confirm:
            failed = sum(map(self._has_failed, self._baselines()))
            extra = len(set(self.seeds) - {study.experiment.seed})
            total += extra * (len(study.baselines) - failed + min(confirm.top, expected + len(self._inherited)))
        training = self.handed_out.keys() - self._ended  # the others are trained, and are scored on the test set
        return len(self._ended), max(total, len(self._ended | training))

    def ranked(self) -> list[Trial]:
        """Returns the trials that were trained for the full T and have a score, baselines excluded, the best by the metric
        first. Trials with the study's decoder come before all others, and with several metrics the Pareto front comes first."""
        return self._ranking.order()

    def kept(self) -> set[str]:
        """Returns the names of the trials whose models are kept: the baselines and the best proposals."""
        return {*self._study.baselines, *(trial.name for trial in self.ranked()[: self._study.models_kept])}

    def confirmed(self) -> list[Trial]:
        """Returns the trials of the confirm phase: the baselines, and then the best proposals."""
        if not self._study.confirm:
            return []
        return [*self._baselines(), *self.ranked()[: self._study.confirm.top]]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the confirm phase, with looks only those up to the present one."""
        confirm = self._study.confirm
        if not confirm:
            return ()
        return confirm.seeds[: confirm.looks[self._look]] if confirm.looks else confirm.seeds

    def values(self, trial: Trial) -> tuple[float, ...] | None:
        """Returns the metrics of a trial's full run in the order of the study; None if it failed, was pruned or has not
        ended."""
        return self._values(self.runs(trial).full)

    def runs(self, trial: Trial) -> TrialRuns:
        """Returns the runs that a trial can have."""
        return self._runs[trial.name]

    def last_run(self, trial: Trial) -> Run:
        """Returns the trial's run of the search phase with the largest T that has a result; without results, the full run."""
        runs = self.runs(trial).search
        return next((run for run in reversed(runs) if run.id in self.results), runs[-1])

    def _peek(self) -> Run | None:
        """Returns the run that can start now without starting it; this may ask for a proposal."""
        if not self._queue and (proposal := self._propose()):
            first = self.runs(proposal).search[0]
            self._queue[first.id] = first
        if self._queue:
            return next(iter(self._queue.values()))
        promotions = list(self._promotions())
        if promotions:
            return promotions[0]
        return next(self._confirmations(), None) or next(self._analyses(), None) or next(self._measurements(), None)

    def _promotions(self) -> Iterator[Run]:
        """Yields the runs with the next T of the best trials of each rung that has ended."""
        horizon = self._study.horizon
        climbing = self._proposals if horizon else []
        for rung in range(len(horizon.steps) - 1 if horizon else 0):
            assert horizon is not None
            scores: dict[str, float] = {}
            for trial in climbing:
                run = self.runs(trial).search[rung]
                if run.id not in self._ended:
                    return  # the best are only known once all runs of the rung have ended
                if values := self._values(run):
                    scores[trial.name] = values[0]
            most = math.ceil(round(horizon.keep * len(climbing), 9))
            is_better_high = self._study.objectives[self._study.metric] == "max"
            best = sorted(scores, key=lambda name: scores[name], reverse=is_better_high)[:most]
            climbing = [trial for trial in climbing if trial.name in best]
            for trial in climbing:
                run = self.runs(trial).search[rung + 1]
                if self._is_open(run):
                    yield run

    def _confirmations(self) -> Iterator[Run]:
        """Yields the runs of the confirm phase; a run that was trained in the search phase only needs its test score."""
        if not self._study.confirm:
            return
        searching = any(run.phase == "search" and run.kind == "trial" for run in self.handed_out.values())
        # The best proposals are not known before the search ends.
        trials = [trial for trial in (self._baselines() if searching else self.confirmed()) if self.values(trial) is not None]
        confirming = self._open(trials)
        while not confirming and not self.handed_out and self._goes_on():
            confirming = self._open(trials)
        # The longest first, so that the last workers do not wait for a long run at the end.
        yield from sorted(confirming, key=lambda run: -self._expected_seconds(run))

    def _analyses(self) -> Iterator[Run]:
        """Yields the runs whose encoder is still to be analysed, when all runs that it is compared with have ended."""
        analysis = self._study.analysis
        if not analysis or any(run.phase != "analysis" for run in self.handed_out.values()):
            return
        runs = {trial.name: self._tested(trial) for trial in self.confirmed()}
        against = analysis.similarity.against if analysis.similarity else ()
        first = next((run.id for same in runs.values() for run in same), None)
        for name, same in runs.items():
            for run in same:
                others = {other: self._compared(run, runs[other]) for other in dict.fromkeys((*against, name)) if against}
                plan = AnalysisPlan(settings=analysis, others=others, has_context=run.id == first)
                if self._is_open(analysed := run.model_copy(update={"phase": "analysis", "analysis": plan})):
                    yield analysed

    def _tested(self, trial: Trial) -> list[Run]:
        """Returns the runs of the confirm phase that have a score on the test set."""
        found = [run for run in self.runs(trial).confirm if run.experiment.seed in self.seeds]
        return [run for run in found if (result := self.results.get(run.id)) and result.test is not None]

    def _compared(self, run: Run, others: Sequence[Run]) -> tuple[str, ...]:
        """Returns the ids of the runs that a run's encoder is compared with.

        Runs of one seed have the same batches and may begin with the same random weights, which makes their encoders similar.
        They are compared only if there is no other seed.
        """
        seeds = {other.experiment.seed for other in others}
        allowed = seeds - {run.experiment.seed} or seeds
        return tuple(other.id for other in others if other.experiment.seed in allowed and other.id != run.id)

    def _measurements(self) -> Iterator[Run]:
        """Yields the runs whose speed is still to be measured, when no other run is in progress: it would change the speed."""
        if not self.handed_out:
            yield from (run for trial in self.confirmed() for run in self.runs(trial).speed if self._is_open(run))

    def _open(self, trials: Iterable[Trial]) -> list[Run]:
        """Returns the runs of the confirm phase that can start at the present look."""
        return [
            run
            for trial in trials
            for run in self.runs(trial).confirm
            if run.experiment.seed in self.seeds and self._is_open(run)
        ]

    def _goes_on(self) -> bool:
        """Goes on to the next look if the answer is not settled at this one, and returns whether it did."""
        looks = self._study.confirm.looks if self._study.confirm else ()
        if self._has_settled or self._look + 1 >= len(looks):
            return False
        self._has_settled = self._is_settled()
        self._look += not self._has_settled
        return not self._has_settled

    def _expected_seconds(self, run: Run) -> float:
        """Returns the time of the trial's search run, or 0 for a run that only needs a test score."""
        return 0.0 if run.id in self.results else self.results[self.runs(self.trials[run.trial]).full.id].seconds

    def _is_open(self, run: Run) -> bool:
        """Returns whether a run still has to start."""
        result = self.results.get(run.id)
        if run.id in self.handed_out:
            return False
        if result is None:
            return run.phase in ("search", "confirm")
        if run.phase == "search" or result.failed is not None:
            return False
        if run.phase == "confirm":
            return result.test is None
        is_known = result.is_analysed if run.phase == "analysis" else result.speed is not None
        return result.test is not None and not is_known and (run.id, run.phase) not in self._measured

    def _propose(self) -> Trial | None:
        """Returns a new trial; None if the study has all its proposals."""
        made = len(self._proposals)
        if self._exhausted or (self._wanted and made >= self._wanted) or not self._study.search:
            return None
        name = PROPOSAL_NAME.format(made + 1)
        settings = None if self._budget_is_spent() else self._proposer.ask(name, self._is_new)
        if settings is None:
            self._exhausted = True
            return None
        return self._add(Trial(name, "trial", settings, replace(self._study.experiment, settings)))

    def _budget_is_spent(self) -> bool:
        hours = self._study.budget.gpu_hours
        return self._is_spent() or (
            hours is not None and sum(result.gpu_seconds for result in self.results.values()) >= hours * 3600
        )

    def _is_new(self, settings: Settings) -> bool:
        """Returns whether settings make a valid experiment that no trial has yet; an equal one would give equal results."""
        try:
            experiment = replace(self._study.experiment, settings)
        except ConfigError:
            return False
        return experiment.model_dump_json() not in self._experiments

    def _add(self, trial: Trial) -> Trial:
        horizon, confirm = self._study.horizon, self._study.confirm
        rungs = horizon.steps[:-1] if horizon and self._is_proposed(trial.name) else ()
        self.trials[trial.name] = trial
        self._runs[trial.name] = TrialRuns(trial, rungs, confirm, self._study.analysis)
        self._experiments.add(trial.experiment.model_dump_json())
        if self._is_proposed(trial.name):
            self._proposals.append(trial)
        self._rank(trial)
        return trial

    def _rank(self, trial: Trial) -> None:
        if trial.kind == "trial":
            self._ranking.put(trial, self.values(trial))

    def _baselines(self) -> list[Trial]:
        return [self.trials[name] for name in self._study.baselines]

    def _is_proposed(self, name: str) -> bool:
        """Returns whether this study's sampler proposed the trial."""
        return name not in self._study.baselines and name not in self._inherited

    def _values(self, run: Run) -> tuple[float, ...] | None:
        result = self.results.get(run.id)
        if result is None or result.pruned is not None:
            return None
        found = [getattr(result, METRICS[name].field) for name in self._study.objectives]
        return tuple(found) if all(value is not None and math.isfinite(value) for value in found) else None

    def _has_failed(self, trial: Trial) -> bool:
        return self.runs(trial).full.id in self.results and self.values(trial) is None

    def _tell(self, trial: Trial) -> None:
        """Tells the proposer the result of a trial's first run, if it has ended."""
        run = self.runs(trial).search[0]  # the proposer learns from the first run only
        result = self.results.get(run.id)
        if result is None:
            return
        values = self._values(run)
        if self._is_proposed(trial.name):
            metric = getattr(result, METRICS[self._study.metric].field)
            if result.pruned is not None and metric is not None:
                self._proposer.tell(trial.name, [metric], pruned=True)
            else:
                self._proposer.tell(trial.name, values)
        elif values and not self._study.horizon:  # with a horizon, proposals are compared at a T that this trial does not have
            self._proposer.tell_known(trial.name, trial.experiment, self._study.experiment, values)
