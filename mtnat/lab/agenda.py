"""What a study runs next: its whole plan and all it knows, with no Ray, Optuna or MLflow in it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import Field

from mtnat.config import Record, replace
from mtnat.errors import ConfigError
from mtnat.experiment import Experiment
from mtnat.lab.study import PROPOSAL_NAME, Settings, Study, slug

Kind = Literal["baseline", "trial"]


@dataclass(frozen=True)
class Trial:
    """One configuration, named as a baseline or proposed."""

    name: str
    kind: Kind
    settings: Settings
    experiment: Experiment
    """Resolved, with the search's seed."""


class Run(Record):
    """One training of one trial with one seed; its confirm phase, if any, goes on where its search phase ended."""

    trial: str
    kind: Kind
    phase: Literal["search", "confirm"]
    experiment: Experiment
    """Resolved, with this run's seed."""
    rung: int | None = None
    """T of a shorter complete run, which decides whether the trial is trained for longer."""

    @property
    def id(self) -> str:
        """Also the name of its folder."""
        return f"{slug(self.trial)}-seed{self.experiment.seed}"


class Result(Record):
    """What is known of a run that has ended; ``run.json`` in its folder."""

    run: str
    """The run's id."""
    valid: float | None = None
    """The metric on the validation set; None where training failed."""
    pruned: int | None = None
    """The step at which it was told to end, because others were better there; it has no model then."""
    test: float | None = None
    """BLEU on the test set, after the confirm phase."""
    signature: str | None = None
    """sacreBLEU's signature of both scores."""
    seconds: float = Field(0.0, ge=0)
    """Wall-clock time of both phases; of an interrupted one, since it was last started."""
    decode_seconds: float | None = None
    """In which the last validation translated the validation set."""
    train_seconds: float | None = None
    """Of training, validations not included."""
    parameters: int | None = None
    """Weights of the model, both decoders included."""
    tokens: int | None = None
    """Target tokens trained on."""
    gpu_seconds: float = Field(0.0, ge=0)
    """`seconds` times the GPUs held."""
    joules: float | None = None
    """Energy of its GPUs, where they report it; what other runs on the same GPU took meanwhile is in it."""
    micro_batches: int = Field(1, ge=1)
    """Parts into which each batch was cut for want of memory; the sums, and so the science, are the same."""
    data_hash: str | None = None
    """Fingerprint of the prepared corpus."""
    failed: str | None = None
    """Why the run has no score, in a sentence."""


class Proposer(Protocol):
    """Who proposes the settings of trials (Optuna, or a list in tests), and remembers them over an interruption."""

    def known(self) -> Mapping[str, Settings]:
        """Every proposal so far by name, in order."""

    def ask(self, name: str, is_wanted: Callable[[Settings], bool]) -> Settings | None:
        """The next proposal; None where the space holds no more that is wanted."""

    def report(self, name: str, step: int, value: float) -> bool:
        """A proposal's score while it runs, and whether it should end there; telling a step twice asks only the second."""

    def tell(self, name: str, values: Sequence[float] | None, *, pruned: bool = False) -> None:
        """The metrics of a proposal, None where its run failed; telling twice changes nothing.

        Args:
            pruned: it was ended early; the values are those it had then.
        """

    def tell_known(self, name: str, experiment: Experiment, base: Experiment, values: Sequence[float]) -> bool:
        """The metrics of a baseline or of another study's trial; says whether it counts, because it lies in the search space.
        Telling twice changes nothing."""


class NoProposals:
    """Who has none: for the training of baselines alone."""

    def known(self) -> Mapping[str, Settings]:
        return {}

    def ask(self, name: str, is_wanted: Callable[[Settings], bool]) -> Settings | None:
        return None

    def report(self, name: str, step: int, value: float) -> bool:
        raise AssertionError("nothing was proposed")

    def tell(self, name: str, values: Sequence[float] | None, *, pruned: bool = False) -> None:
        raise AssertionError("nothing was proposed")

    def tell_known(self, name: str, experiment: Experiment, base: Experiment, values: Sequence[float]) -> bool:
        return False


class Agenda:
    """Hands out runs: 1. baselines, 2. proposals, 3. baselines and best proposals with the other seeds, the longest first.

    The baselines are confirmed while the last proposals run, because nothing that may come out of those changes that they are.
    """

    def __init__(self, study: Study, proposer: Proposer, results: Mapping[str, Result]) -> None:
        """
        Args:
            results: those of an interrupted study, by run id; runs without one are handed out again.
        """
        self._study = study
        self._proposer = proposer
        self._exhausted = False
        self.results: dict[str, Result] = dict(results)
        self.trials: dict[str, Trial] = {}
        self.handed_out: dict[str, Run] = {}
        """Runs under way, by id."""
        for name, settings in study.baselines.items():
            self._add(Trial(name, "baseline", settings, replace(study.experiment, settings)))
        for name, settings in proposer.known().items():
            self._add(Trial(name, "trial", settings, replace(study.experiment, settings)))
        for trial in self.trials.values():
            self._tell(trial)

    def next(self) -> Run | None:
        """The next run to start; None while the plan waits for runs under way, and when it is finished."""
        run = next(self._candidates(), None)
        if run:
            self.handed_out[run.id] = run
        return run

    def end(self, result: Result) -> None:
        """Takes down what came of a run that was handed out."""
        run = self.handed_out.pop(result.run)
        self.results[run.id] = result
        if run.phase == "search":
            self._tell(self.trials[run.trial])

    @property
    def is_finished(self) -> bool:
        """Whether every run has ended and none will follow."""
        return not self.handed_out and next(self._candidates(), None) is None

    @property
    def planned(self) -> tuple[int, int]:
        """Trainings that have ended, and all there will be as far as one can tell."""
        proposals = sum(trial.kind == "trial" for trial in self.trials.values())
        expected = proposals if self._exhausted else max(proposals, self._study.trials)
        total = len(self._study.baselines) + expected
        if confirm := self._study.confirm:
            failed = sum(trial.kind == "baseline" and self._has_failed(trial) for trial in self.trials.values())
            extra = len(set(confirm.seeds) - {self._study.experiment.seed})
            total += extra * (len(self._study.baselines) - failed + min(confirm.top, expected))
        own = {run.id for trial in self.trials.values() for run in (self.search_run(trial), *self.confirm_runs(trial))}
        ended = sum(run in own and run not in self.handed_out for run in self.results)
        return ended, max(total, ended + len(self.handed_out))

    def confirmed(self) -> list[Trial]:
        """The trials whose place in the leaderboard is decided on the test set: baselines, then the best proposals."""
        if not self._study.confirm:
            return []
        proposals = [trial for trial in self.trials.values() if trial.kind == "trial" and self._valid(trial) is not None]
        best = sorted(proposals, key=lambda trial: -(self._valid(trial) or 0.0))[: self._study.confirm.top]
        return [trial for trial in self.trials.values() if trial.kind == "baseline"] + best

    def search_run(self, trial: Trial) -> Run:
        """A trial's run in the search phase."""
        return Run(trial=trial.name, kind=trial.kind, phase="search", experiment=trial.experiment)

    def last_run(self, trial: Trial) -> Run:
        """A trial's run of the search phase that went furthest."""
        return self.search_run(trial)

    def rung_runs(self, trial: Trial) -> list[Run]:
        """A trial's shorter complete runs."""
        return []

    def values(self, trial: Trial) -> tuple[float, ...] | None:
        """A trial's metrics, in the order of the study's objectives, of its full run of the search phase; None without one."""
        result = self.results.get(self.search_run(trial).id)
        if result is None or self._valid(trial) is None:
            return None
        known = {
            "valid.bleu": result.valid,
            "decode.seconds": result.decode_seconds,
            "train.seconds": result.train_seconds,
            "model.parameters": result.parameters,
        }
        values = tuple(value for name in self._study.objectives if (value := known[name]) is not None)
        return values if len(values) == len(self._study.objectives) else None

    def confirm_runs(self, trial: Trial) -> list[Run]:
        """A trial's runs in the confirm phase, one a seed."""
        seeds = self._study.confirm.seeds if self._study.confirm else ()
        return [
            Run(trial=trial.name, kind=trial.kind, phase="confirm", experiment=replace(trial.experiment, {"seed": seed}))
            for seed in seeds
        ]

    def _candidates(self) -> Iterator[Run]:
        """Runs that could start now, in order; looking at them may ask for a proposal."""
        waiting = [run for trial in self.trials.values() if self._is_open(run := self.search_run(trial))]
        yield from waiting
        while (proposal := self._propose()) is not None:
            yield self.search_run(proposal)
        if not self._study.confirm:
            return
        searching = any(run.phase == "search" and run.kind == "trial" for run in self.handed_out.values())
        confirming: list[Run] = []
        for trial in self.confirmed():
            if (trial.kind == "trial" and searching) or self._valid(trial) is None:
                continue  # not known to be among the best yet; or its search phase has failed or not ended
            confirming += (run for run in self.confirm_runs(trial) if self._is_open(run))
        # The longest first, so that no long one is left over at the end with the other workers idle.
        yield from sorted(confirming, key=lambda run: -self._expected_seconds(run))

    def _expected_seconds(self, run: Run) -> float:
        """Of a run of the confirm phase: what its trial's search run took, nearly nothing where it only needs a test score."""
        return 0.0 if run.id in self.results else self.results[self.search_run(self.trials[run.trial]).id].seconds

    def _is_open(self, run: Run) -> bool:
        """Whether a run is still to be handed out."""
        result = self.results.get(run.id)
        if run.id in self.handed_out:
            return False
        return result is None or (run.phase == "confirm" and result.test is None and result.failed is None)

    def _propose(self) -> Trial | None:
        """A new trial, while the study wants more."""
        proposals = sum(trial.kind == "trial" for trial in self.trials.values())
        if proposals >= self._study.trials or self._exhausted:
            return None
        name = PROPOSAL_NAME.format(proposals + 1)
        settings = self._proposer.ask(name, self._is_new)
        if settings is None:
            self._exhausted = True
            return None
        return self._add(Trial(name, "trial", settings, replace(self._study.experiment, settings)))

    def _is_new(self, settings: Settings) -> bool:
        """Whether settings make a valid experiment that no trial has; an equal one would only give equal numbers again."""
        try:
            experiment = replace(self._study.experiment, settings)
        except ConfigError:
            return False
        return all(experiment != trial.experiment for trial in self.trials.values())

    def _add(self, trial: Trial) -> Trial:
        self.trials[trial.name] = trial
        return trial

    def _valid(self, trial: Trial) -> float | None:
        """The metric of a trial's search run; None where it failed or has not ended."""
        result = self.results.get(self.search_run(trial).id)
        if result is None or result.valid is None or result.pruned is not None:
            return None
        return result.valid if math.isfinite(result.valid) else None

    def _has_failed(self, trial: Trial) -> bool:
        return self.search_run(trial).id in self.results and self._valid(trial) is None

    def _tell(self, trial: Trial) -> None:
        """Tells the proposer what a trial's search run gave, if it has ended."""
        if self.search_run(trial).id not in self.results:
            return
        value = self._valid(trial)
        if trial.kind == "trial":
            self._proposer.tell(trial.name, None if value is None else [value])
        elif value is not None:
            self._proposer.tell_known(trial.name, trial.experiment, self._study.experiment, [value])
