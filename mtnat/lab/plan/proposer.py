"""The port to whatever proposes the settings of trials."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from mtnat.experiment import Experiment
from mtnat.lab.study.record import Settings


class Proposer(Protocol):
    """Proposes the settings of trials, and keeps them when the study is interrupted."""

    def known(self) -> Mapping[str, Settings]:
        """Returns the settings of every proposal so far by name, in order."""

    def ask(self, name: str, is_wanted: Callable[[Settings], bool]) -> Settings | None:
        """Returns the next proposal; None if the space has no more settings that are wanted."""

    def report(self, name: str, step: int, value: float) -> bool:
        """Records the score of a proposal during training, and returns whether its run is to end at this step. A second call
        with the same step records nothing and gives the same answer."""

    def tell(self, name: str, values: Sequence[float] | None, *, pruned: bool = False) -> None:
        """Records the metrics of a proposal, or None if its run failed. A second call changes nothing.

        Args:
            pruned: the run was ended early; the values are those of its last step.
        """

    def tell_known(self, name: str, experiment: Experiment, base: Experiment, values: Sequence[float]) -> bool:
        """Records the metrics of a trial that was not proposed here: a baseline, or a trial of another study.

        Returns:
            Whether the trial lies in the search space, and so counts. A second call changes nothing.
        """


class NoProposals:
    """Proposes nothing: for a plan that only has baselines."""

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
