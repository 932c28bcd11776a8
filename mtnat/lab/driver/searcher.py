"""The agenda as a searcher of Ray Tune."""

from collections.abc import Callable
from typing import Any, Self

from ray.tune.search import Searcher

from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.worker.sessions import RUN, RUN_ID


class DriverOnly:
    """An object that Tune neither copies nor saves. Tune would do both to be able to restore an experiment, but a study resumes
    from its own folder."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {}


class AgendaSearcher(DriverOnly, Searcher):
    """Gives Tune the next run whenever one can start. The agenda gets the results from the listener."""

    def __init__(self, agenda: Agenda, most_at_once: Callable[[], int]) -> None:
        """Args: most_at_once: returns the number of runs that the cluster holds now. No further run is taken from the agenda,
        so that each proposal is made with all results so far."""
        super().__init__()
        self._agenda = agenda
        self._most_at_once = most_at_once

    def suggest(self, trial_id: str) -> Any:
        if len(self._agenda.handed_out) >= self._most_at_once():
            return None
        run = self._agenda.next()
        if run:
            return {RUN: run.model_dump_json(), RUN_ID: run.id}
        return None if self._agenda.handed_out else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        pass

    def save(self, checkpoint_path: str) -> None:
        """Does nothing, because Tune's state is never read again: a study resumes from its folder."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a study resumes from its folder")
