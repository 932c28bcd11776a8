"""The agenda as Tune sees it."""

from collections.abc import Callable
from typing import Any, Self

from ray.tune.search import Searcher

from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.worker.sessions import RUN, RUN_ID


class DriverOnly:
    """What Tune must take as it is: it copies and pickles what it is given, to restore a study that we resume otherwise."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {}


class AgendaSearcher(DriverOnly, Searcher):
    """Gives Tune a run whenever one may start. What comes of runs reaches the agenda by the listener."""

    def __init__(self, agenda: Agenda, most_at_once: Callable[[], int]) -> None:
        """
        Args:
            most_at_once: runs the cluster holds now; asking for no more lets each proposal know of all results so far.
        """
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
        """Nothing: the study's folder is the truth, and Tune's own state is never read again."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a study resumes from its folder")
