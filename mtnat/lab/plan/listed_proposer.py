"""A proposer without Optuna, for tests."""

from collections.abc import Callable, Mapping, Sequence

from mtnat.experiment import Experiment
from mtnat.lab.study.record import Settings


class ListedProposer:
    """Proposes the settings of a list in their order, and keeps what it is told in memory."""

    def __init__(self, *proposals: Settings, prunes_below: float = -float("inf")) -> None:
        """
        Args:
            prunes_below: a score below it ends a run early.
        """
        self.coming = list(proposals)
        self.made: dict[str, Settings] = {}
        self.told: dict[str, float | None] = {}
        """The first metric by name, including trials from elsewhere; None for a run that failed."""
        self.pruned: list[str] = []
        self._prunes_below = prunes_below

    def known(self) -> Mapping[str, Settings]:
        return dict(self.made)

    def ask(self, name: str, is_wanted: Callable[[Settings], bool]) -> Settings | None:
        wanted = next((settings for settings in self.coming if is_wanted(settings)), None)
        if wanted is not None:
            self.coming = self.coming[self.coming.index(wanted) + 1 :]
            self.made[name] = wanted
        return wanted

    def report(self, name: str, step: int, value: float) -> bool:
        return value < self._prunes_below

    def tell(self, name: str, values: Sequence[float] | None, *, pruned: bool = False) -> None:
        self.told[name] = values[0] if values else None
        if pruned and name not in self.pruned:
            self.pruned.append(name)

    def tell_known(self, name: str, experiment: Experiment, base: Experiment, values: Sequence[float]) -> bool:
        self.told[name] = values[0]
        return True
