"""The runs that a trial can have."""

from functools import cached_property

from mtnat.config import replace
from mtnat.lab.outputs.runs import Run, Trial
from mtnat.lab.study.analysing import Analysis
from mtnat.lab.study.record import Confirm
from mtnat.lab.study.searching import compressed


class TrialRuns:
    """The runs of one trial, each made once, when it is first asked for: every change of an experiment validates it again."""

    def __init__(self, trial: Trial, rungs: tuple[int, ...], confirm: Confirm | None, analysis: Analysis | None = None) -> None:
        """
        Args:
            rungs: T of each shorter run, ascending.
            confirm: the confirm phase; None if the study has none.
            analysis: of the encoders of the runs in the confirm phase; None if the study has none.
        """
        self._trial, self._rungs, self._confirm, self._analysis = trial, rungs, confirm, analysis

    @cached_property
    def full(self) -> Run:
        """The run of the search phase with the full T."""
        trial = self._trial
        return Run(
            trial=trial.name,
            kind=trial.kind,
            phase="search",
            experiment=trial.experiment,
            encoder_every=self._encoder_every(trial.experiment.seed),
        )

    @cached_property
    def rungs(self) -> tuple[Run, ...]:
        """The complete runs with a shorter T, ascending."""
        experiment = self._trial.experiment
        return tuple(
            self.full.model_copy(
                update={"rung": steps, "experiment": compressed(experiment, steps), "encoder_every": 0}  # it is not confirmed
            )
            for steps in self._rungs
        )

    @cached_property
    def search(self) -> tuple[Run, ...]:
        """All runs of the search phase: the rungs, and then the full run."""
        return (*self.rungs, self.full)

    @cached_property
    def confirm(self) -> tuple[Run, ...]:
        """The runs of the confirm phase, one for each seed."""
        if self._confirm is None:
            return ()
        return tuple(
            self.full.model_copy(
                update={
                    "phase": "confirm",
                    "experiment": replace(self._trial.experiment, {"seed": seed}),
                    "encoder_every": self._encoder_every(seed),
                }
            )
            for seed in self._confirm.seeds
        )

    @cached_property
    def speed(self) -> tuple[Run, ...]:
        """The run whose speed is measured in the end, if the study measures it: that of the confirm phase with the first
        seed."""
        if self._confirm is None or self._confirm.speed_sentences is None:
            return ()
        return (self.confirm[0].model_copy(update={"phase": "speed", "speed_sentences": self._confirm.speed_sentences}),)

    @cached_property
    def all(self) -> tuple[Run, ...]:
        """The runs of both phases."""
        return (*self.search, *self.confirm)

    def _encoder_every(self, seed: int) -> int:
        """Returns the number of steps between two encoders that a run with this seed keeps. They are for the analysis, which is
        of the runs of the confirm phase."""
        if self._analysis is None or self._confirm is None or seed not in self._confirm.seeds:
            return 0
        return self._analysis.every or 0
