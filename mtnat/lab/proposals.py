"""Optuna as the one who proposes: ask and tell on a journal that survives a kill."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from mtnat.config import replace
from mtnat.experiment import Experiment
from mtnat.lab.space import Space, Value, as_label, leaves
from mtnat.lab.study import Settings

PROPOSAL, KNOWN = "proposal", "known"
"""Attributes of an Optuna trial: our name and settings, written at once when they are complete; the name of one that was not
proposed."""
TPE_ATTEMPTS, ATTEMPTS = 10, 100
"""Proposals that may be turned down before random ones take over, and before the space counts as exhausted."""


class OptunaProposer:
    """A tree-structured Parzen estimator (Bergstra et al. 2011), seeded; runs still under way count as bad ones."""

    def __init__(self, space: Space, journal: Path, *, seed: int, trials: int) -> None:
        """
        Args:
            trials: how many there will be; the first quarter, ten at most, are random.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        self._space = space
        _drop_torn_line(journal)
        storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=_NoLock(str(journal))))
        self._optuna = optuna.create_study(storage=storage, study_name="study", direction="maximize", load_if_exists=True)
        trials_so_far = self._optuna.get_trials(deepcopy=False)
        for trial in trials_so_far:
            if trial.state == TrialState.RUNNING and PROPOSAL not in trial.user_attrs:
                self._optuna.tell(trial.number, state=TrialState.FAIL)  # killed while it was being drawn
        seed += len(trials_so_far)  # a resumed study must not draw the same numbers again
        startup = min(10, max(2, trials // 4))
        self._tpe = optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)
        self._random = optuna.samplers.RandomSampler(seed=seed)

    def known(self) -> Mapping[str, Settings]:
        return {name: trial.user_attrs[PROPOSAL]["settings"] for name, trial in self._proposals().items()}

    def ask(self, name: str, is_wanted: Callable[[Settings], bool]) -> Settings | None:
        for attempt in range(ATTEMPTS):
            self._optuna.sampler = self._tpe if attempt < TPE_ATTEMPTS else self._random
            trial = self._optuna.ask()
            settings = self._space.draw(trial)
            if is_wanted(settings):
                trial.set_user_attr(PROPOSAL, {"name": name, "settings": settings})
                return settings
            self._optuna.tell(trial, state=TrialState.FAIL)
        return None

    def report(self, name: str, step: int, value: float) -> bool:
        return False

    def tell(self, name: str, values: Sequence[float] | None, *, pruned: bool = False) -> None:
        trial = self._proposals()[name]
        if trial.state.is_finished():
            return
        if values is None:
            self._optuna.tell(trial.number, state=TrialState.FAIL)
        else:
            self._optuna.tell(trial.number, list(values))

    def tell_known(self, name: str, experiment: Experiment, base: Experiment, values: Sequence[float]) -> bool:
        if any(trial.user_attrs.get(KNOWN) == name for trial in self._optuna.get_trials(deepcopy=False)):
            return True
        recorder = _Recorder(leaves(experiment))
        try:
            settings = self._space.draw(recorder)
            trial = optuna.create_trial(
                params=recorder.params,
                distributions=recorder.distributions,
                values=list(values),
                user_attrs={KNOWN: name},
            )
        except (KeyError, ValueError):
            return False  # one of its values is none that the search could propose
        if replace(base, settings) != experiment:
            return False
        self._optuna.add_trial(trial)
        return True

    def _proposals(self) -> dict[str, FrozenTrial]:
        trials = self._optuna.get_trials(deepcopy=False)
        return {trial.user_attrs[PROPOSAL]["name"]: trial for trial in trials if PROPOSAL in trial.user_attrs}


class _Recorder:
    """Answers a search's questions with an experiment's values, and keeps what Optuna must know of questions and answers."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values
        self.params: dict[str, Any] = {}
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float:
        return float(self._answer(name, FloatDistribution(low, high, log=log, step=step)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._answer(name, IntDistribution(low, high, log=log, step=step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._answer(name, CategoricalDistribution(choices))

    def _answer(self, name: str, distribution: BaseDistribution) -> Any:
        value = self._values[name]
        self.distributions[name] = distribution
        self.params[name] = as_label(value) if isinstance(distribution, CategoricalDistribution) else value
        return self.params[name]


class _NoLock(JournalFileOpenLock):
    """The study's folder is locked as a whole, and a lock of the journal's own would outlive a kill."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _drop_torn_line(journal: Path) -> None:
    """Removes what a kill left of the line that was being written."""
    if journal.exists() and (data := journal.read_bytes()) and not data.endswith(b"\n"):
        journal.write_bytes(data[: data.rfind(b"\n") + 1])
