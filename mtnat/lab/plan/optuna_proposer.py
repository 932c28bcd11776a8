"""Optuna as the proposer: ask and tell, with a journal that survives a kill."""

import json
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from mtnat.experiment import Experiment
from mtnat.files import DAMAGED, write_whole
from mtnat.lab.plan.samplers import Samplers, make_pruner, params_and_distributions
from mtnat.lab.study.record import Settings, Study
from mtnat.lab.study.searching import Direction, Pruner, Sampler
from mtnat.lab.study.space import Space

PROPOSAL, KNOWN, ENDED = "proposal", "known", "ended"
"""User attributes of an Optuna trial: the name and the settings of a proposal, written when the draw is complete; the name of a
trial that was not proposed here; the step at which the pruner ended the trial."""
NAME, SETTINGS, PLACE = "name", "settings", "place"
"""Keys of the attribute PROPOSAL; PLACE is the index on the grid."""
SAMPLER_ATTEMPTS, ATTEMPTS = 10, 100
"""Number of rejected draws in a row after which random draws replace those of the sampler, and after which the space is
considered exhausted."""
_STUDY = "study"
_MOST_LINES_OF_A_DRAW = 1_000
"""An upper bound on the lines of one draw, which has a few of its own and one for each leaf."""


class OptunaProposer:
    """Proposes with one of Optuna's samplers. A proposal depends only on the seed and on the earlier proposals and results."""

    def __init__(
        self,
        space: Space,
        journal: Path,
        *,
        sampler: Sampler,
        seed: int,
        trials: int,
        directions: Sequence[Direction],
        pruner: Pruner | None = None,
        total_steps: int,
    ) -> None:
        """
        Args:
            trials: expected number of proposals; 0 if it is not known.
            directions: the direction of each metric.
            total_steps: steps of a run that is not pruned.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        self._space = space
        self._samplers = Samplers(space, sampler, seed, trials=trials, metrics=len(directions), has_pruner=pruner is not None)
        self._pruner = make_pruner(pruner, total_steps) if pruner else None
        damage = _repair(journal)
        self._storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=_NoLock(str(journal))))
        self._optuna = optuna.create_study(
            storage=self._storage,
            study_name=_STUDY,
            directions=["maximize" if direction == "max" else "minimize" for direction in directions],
            load_if_exists=True,
        )
        self._study_id = self._storage.get_study_id_from_name(_STUDY)
        # An index of the Optuna trials, which would otherwise be searched at each call.
        self._numbers: dict[str, int] = {}
        self._settings: dict[str, Settings] = {}
        self._told: set[str] = set()
        self._count = self._turned_down = 0
        place = self._index()
        self.damaged_line = damage.line if damage else None
        """Number of the journal's first damaged line, from which on it was rebuilt; None if it was whole."""
        for proposal in damage.proposals if damage else ():
            if self.restore(proposal[NAME], proposal[SETTINGS], proposal.get(PLACE)):
                place = proposal.get(PLACE, place)
        self._grid = islice(enumerate(space.grid()), place + 1, None) if sampler.kind == "grid" else None

    def _index(self) -> int:
        """Builds the index from the journal; returns the place of the last proposal on the grid, -1 if there is none."""
        place = -1
        for trial in self._optuna.get_trials(deepcopy=False):
            self._count += 1
            if proposal := trial.user_attrs.get(PROPOSAL):
                self._remember(proposal[NAME], proposal[SETTINGS])
                place = proposal.get(PLACE, place)
            elif KNOWN in trial.user_attrs:
                self._told.add(trial.user_attrs[KNOWN])
            else:
                self._turned_down += 1
        return place

    def known(self) -> Mapping[str, Settings]:
        return dict(self._settings)

    def ask(self, name: str, is_wanted: Callable[[Settings], bool]) -> Settings | None:
        if self._grid is not None:
            return self._ask_grid(name, is_wanted)
        while self._turned_down < ATTEMPTS:
            is_patient = self._turned_down < SAMPLER_ATTEMPTS
            self._optuna.sampler = self._samplers.of_draw(self._count) if is_patient else self._samplers.random(self._count)
            trial = self._optuna.ask()
            self._count += 1
            settings = self._space.draw(trial)
            if is_wanted(settings):
                trial.set_user_attr(PROPOSAL, {NAME: name, SETTINGS: settings})
                self._remember(name, settings)
                return settings
            self._optuna.tell(trial, state=TrialState.FAIL)
            self._turned_down += 1
        return None

    def report(self, name: str, step: int, value: float) -> bool:
        trial = self._trial(name)
        if self._pruner is None or trial.state.is_finished():
            return False
        if ENDED in trial.user_attrs:
            return step >= int(trial.user_attrs[ENDED])
        if trial.last_step is not None and step < trial.last_step:
            return False  # the run continued from a checkpoint, and was not ended at this step before
        if step != trial.last_step:
            self._storage.set_trial_intermediate_value(self._id(name), step, value)
            trial = self._trial(name)
        # The pruner is not given to the Optuna study: with Hyperband, samplers would only see the trials of one bracket.
        is_behind = self._pruner.prune(self._optuna, trial)
        if is_behind:
            self._storage.set_trial_user_attr(self._id(name), ENDED, step)
        return is_behind

    def tell(self, name: str, values: Sequence[float] | None, *, pruned: bool = False) -> None:
        trial = self._trial(name)
        if trial.state.is_finished():
            return
        if pruned:
            self._optuna.tell(trial.number, state=TrialState.PRUNED)  # its value is the last one that was reported
        elif values is None:
            self._optuna.tell(trial.number, state=TrialState.FAIL)
        else:
            self._optuna.tell(trial.number, list(values))

    def tell_known(self, name: str, experiment: Experiment, base: Experiment, values: Sequence[float]) -> bool:
        if name in self._told:
            return True
        settings = self._space.recover(experiment, base)
        if settings is None:
            return False
        params, distributions = params_and_distributions(self._space, settings)
        self._optuna.add_trial(
            optuna.create_trial(params=params, distributions=distributions, values=list(values), user_attrs={KNOWN: name})
        )
        self._count += 1
        self._told.add(name)
        return True

    def _ask_grid(self, name: str, is_wanted: Callable[[Settings], bool]) -> Settings | None:
        """Returns the next wanted combination of the grid; Optuna only stores the trial."""
        assert self._grid is not None
        for place, settings in self._grid:
            if is_wanted(settings):
                self._add({NAME: name, SETTINGS: settings, PLACE: place})
                return settings
        return None

    def restore(self, name: str, settings: Settings, place: int | None = None) -> bool:
        """Adds a proposal that a damaged journal has lost. Returns False if it is known, or if the damage has changed its
        settings to what this space cannot propose.

        Args:
            place: its index on the grid.
        """
        if name in self._settings or not settings.keys() <= {dimension.path for dimension in self._space.dimensions}:
            return False
        try:
            self._add({NAME: name, SETTINGS: settings} | ({} if place is None else {PLACE: place}))
        except (KeyError, TypeError, ValueError):
            return False
        return True

    def _add(self, proposal: Mapping[str, Any]) -> None:
        """Adds a proposal that was not drawn by Optuna."""
        params, distributions = params_and_distributions(self._space, proposal[SETTINGS])
        self._optuna.add_trial(
            optuna.create_trial(
                state=TrialState.RUNNING, params=params, distributions=distributions, user_attrs={PROPOSAL: dict(proposal)}
            )
        )
        self._count += 1
        self._remember(proposal[NAME], proposal[SETTINGS])

    def _remember(self, name: str, settings: Settings) -> None:
        """Adds the proposal of the newest Optuna trial to the index."""
        self._numbers[name] = self._count - 1
        self._settings[name] = settings
        self._turned_down = 0

    def _id(self, name: str) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, self._numbers[name])

    def _trial(self, name: str) -> FrozenTrial:
        return self._storage.get_trial(self._id(name))


def make_proposer(study: Study, journal: Path) -> OptunaProposer:
    """Returns the proposer of a study."""
    return OptunaProposer(
        study.space,
        journal,
        sampler=study.sampler,
        seed=study.experiment.seed if study.sampler.seed is None else study.sampler.seed,
        trials=study.proposals,
        directions=list(study.objectives.values()),
        pruner=study.pruner,
        total_steps=study.experiment.training.steps,
    )


class _NoLock(JournalFileOpenLock):
    """No lock: the driver has locked the whole folder of the study, and a lock file of the journal would outlive a kill."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


class _Lines(BaseJournalBackend):
    """The lines of a journal as a read-only backend of Optuna's storage."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        return map(json.loads, self._lines[log_number_from:])

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise AssertionError("these lines are read only")


class _Damage(NamedTuple):
    """What was found after the first damaged line of a journal."""

    line: int
    """Its number, from 1."""
    proposals: tuple[Mapping[str, Any], ...]
    """The proposals in the lines after it."""


def _repair(journal: Path) -> _Damage | None:
    """Removes what Optuna cannot read: an incomplete last line, and an incomplete last draw, which a kill can leave behind, and
    all lines from a damaged one on, because each line depends on those before it. A damaged journal is kept under another name.

    After a kill the proposer draws the same settings again, because a draw depends only on its number and on the journal before
    it.
    """
    if not journal.exists():
        return None
    data = journal.read_bytes()
    lines = data.splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    damage = None
    try:
        trials = _trials(lines)
    except Exception:  # of many kinds, such as JSON's ValueError, KeyError and AssertionError
        whole = bisect_left(range(len(lines)), True, key=lambda number: not _is_readable(lines[: number + 1]))
        damage = _Damage(whole + 1, tuple(proposal for line in lines[whole:] for proposal in _proposals_in(_parsed(line))))
        write_whole(journal.with_name(f"{DAMAGED}{journal.name}"), data)
        del lines[whole:]
        trials = _trials(lines)
    if trials and trials[-1].state == TrialState.RUNNING and PROPOSAL not in trials[-1].user_attrs:
        # Nothing else is written during a draw, so all lines from the creation of its trial on belong to it. The creation is
        # found by replaying the journal up to each line, since the format of the lines is private to Optuna.
        earliest = max(0, len(lines) - _MOST_LINES_OF_A_DRAW)
        searched = range(earliest, len(lines))
        created = bisect_left(searched, len(trials), key=lambda number: len(_trials(lines[: number + 1])))
        del lines[searched[created] :]
    if (kept := b"".join(lines)) != data:
        write_whole(journal, kept)
    return damage


def _is_readable(lines: Sequence[bytes]) -> bool:
    try:
        _trials(lines)
    except Exception:
        return False
    return True


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError):
        return None


def _proposals_in(entry: object) -> Iterator[Mapping[str, Any]]:
    """Yields the proposals in an entry of a journal, at any depth."""
    if isinstance(entry, Mapping):
        proposal = entry.get(PROPOSAL)
        if isinstance(proposal, Mapping) and _is_proposal(proposal):
            yield proposal
        for value in entry.values():
            yield from _proposals_in(value)


def _trials(lines: Sequence[bytes]) -> list[FrozenTrial]:
    """Returns the trials after replaying the lines of a journal.

    Raises:
        Exception: of many kinds; the lines are damaged.
    """
    storage = JournalStorage(_Lines(lines))
    if not storage.get_all_studies():
        return []
    trials: list[FrozenTrial] = storage.get_all_trials(storage.get_study_id_from_name(_STUDY), deepcopy=False)
    for trial in trials:
        proposal = trial.user_attrs.get(PROPOSAL)
        if proposal is not None and not _is_proposal(proposal):
            raise ValueError(f"trial {trial.number}: its proposal is damaged")
    return trials


def _is_proposal(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get(NAME), str)
        and isinstance(value.get(SETTINGS), Mapping)
        and isinstance(value.get(PLACE), int | None)
    )
