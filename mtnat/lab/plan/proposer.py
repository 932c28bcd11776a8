"""Who proposes the settings of trials: the port."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from mtnat.experiment import Experiment
from mtnat.lab.study.record import Settings


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
