"""What the driver does when a run starts, reports, ends or loses its process. It does not depend on Ray."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from mtnat.lab.cluster.room import Patience
from mtnat.lab.driver.run_book import RunBook
from mtnat.lab.driver.screen import Screen
from mtnat.lab.outputs.folder import read_result, write_result
from mtnat.lab.outputs.micro_batches import double_micro_batches
from mtnat.lab.outputs.runs import Result, Run
from mtnat.lab.outputs.storage import Storage
from mtnat.lab.plan.agenda import Agenda
from mtnat.training.checkpoints import Checkpoints
from mtnat.training.fit import CHECKPOINTS

MOST_DEATHS = 4
"""How often a run starts again after its process died without a newer checkpoint; after that the run itself is the cause."""


class RunsUnderWay:
    """Passes what happens to a study's runs on to the agenda, the tracker and the screen. A call that is repeated after a kill
    changes nothing."""

    def __init__(self, agenda: Agenda, storage: Storage, book: RunBook, patience: Patience, screen: Screen) -> None:
        self._agenda, self._storage, self._book, self._patience, self._screen = agenda, storage, book, patience, screen
        self._kept = agenda.kept()
        """Trials whose models are on the disk."""
        self._deaths: Counter[tuple[str, int]] = Counter()
        """How often a run's process died, by the step of its newest checkpoint at that time."""

    def catch_up(self, *, everything: bool = False) -> None:
        """Closes the runs that had ended before a kill without the driver's knowledge.

        Args:
            everything: record all runs that have ended again.
        """
        for trial in self._agenda.trials.values():
            if trial.name not in self._kept:
                self._drop_model(trial.name)
            for run in self._agenda.runs(trial).all:
                result = self._agenda.results.get(run.id)
                if result and (everything or not self._book.is_closed(run)):
                    self._book.begin(run)
                    self._close(run, result)

    def start(self, run_id: str) -> None:
        """A run has its place on the cluster."""
        run = self._agenda.handed_out[run_id]
        self._book.begin(run)
        self._screen.started(run)

    def report(self, run_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """A run has reported a point of its curves."""
        run = self._agenda.handed_out[run_id]
        self._patience.progressed()
        self._book.log(run, step, metrics)
        self._screen.progressed(run, step, run.experiment.training.steps, metrics)
        if self._agenda.report(run, step, metrics):
            # The run ends by itself. A killed run would leave its workers' places taken, and its score would look complete.
            self._storage.stop(run.id)

    def split_batches(self, run_id: str, parts: int) -> None:
        """A run has run out of memory and continues with smaller batches."""
        run = self._agenda.handed_out[run_id]
        self._screen.say(f"{run.name}: ran out of memory; continues with each batch in {parts} parts")

    def say(self, run_id: str, text: str) -> None:
        """A run has a sentence for the user."""
        self._screen.say(f"{self._agenda.handed_out[run_id].name}: {text}")

    def end(self, run_id: str) -> None:
        """A run's process has returned."""
        result = read_result(self._storage.fetch(run_id))
        assert result is not None
        self._end(self._agenda.handed_out[run_id], result)

    def die(self, run_id: str, reason: str | None, *, short_of_memory: bool = False) -> None:
        """A run's process has died, and the run starts again unless that has happened too often.

        Args:
            reason: None where the process never came up, or its machine is gone; neither counts against the run.
        """
        run, folder = self._agenda.handed_out[run_id], self._storage.fetch(run_id)
        step = _checkpoint_step(folder)
        if reason is None:
            self._start_again(run, step, "it did not start, or its machine is gone")
            return
        if short_of_memory:
            double_micro_batches(folder)
        self._died(run, folder, step, reason)

    def lose_all(self, reason: str) -> None:
        """Every run in progress has lost its process, and Ray does not tell which of them was the cause."""
        for run in list(self._agenda.handed_out.values()):
            folder = self._storage.fetch(run.id)
            if (result := read_result(folder)) and self._agenda.results.get(run.id) != result:
                self._book.begin(run)  # it had ended, but the driver was not told
                self._end(run, result)
                continue
            step = _checkpoint_step(folder)
            if self._deaths[run.id, step]:  # not the first time, so this run may be the one that takes too much memory
                double_micro_batches(folder)
            self._died(run, folder, step, reason)

    def kill(self) -> None:
        """Marks every run that is not closed as killed."""
        self._book.kill()

    def _died(self, run: Run, folder: Path, step: int, reason: str) -> None:
        """Has a run start again, or ends it as failed if its process has died at this step too often."""
        if self._deaths[run.id, step] < MOST_DEATHS:
            self._deaths[run.id, step] += 1
            self._start_again(run, step, reason)
            return
        known = read_result(folder) or Result(run=run.id)
        result = known.failed_in(run, f"its process ended {MOST_DEATHS + 1} times at step {step}: {reason}")
        write_result(folder, result)
        self._book.begin(run)  # it may have died before it was begun
        self._end(run, result)

    def _start_again(self, run: Run, step: int, reason: str) -> None:
        self._patience.died()
        self._agenda.put_back(run)
        self._screen.died(run, step, reason)

    def _end(self, run: Run, result: Result) -> None:
        self._agenda.end(result)
        beaten = self._kept - (kept := self._agenda.kept())
        self._kept = kept
        self._close(run, result)
        for name in beaten:
            self._drop_model(name)
        self._screen.ended(run, result)

    def _close(self, run: Run, result: Result) -> None:
        self._book.close(run, result, keeps_model=run.trial in self._kept and not run.rung)

    def _drop_model(self, name: str) -> None:
        """Removes the model of a proposal that others have beaten."""
        self._book.drop_model(self._agenda.runs(self._agenda.trials[name]).full)


def _checkpoint_step(folder: Path) -> int:
    """The step of a run's newest checkpoint; 0 where it has none."""
    return max(Checkpoints(folder / CHECKPOINTS).steps(), default=0)
