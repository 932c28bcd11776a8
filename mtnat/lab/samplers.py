"""Optuna's samplers and pruners, as a study file names them; each sampler knows the search space beforehand."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from mtnat.lab.space import Search, Space, as_label
from mtnat.lab.strategy import Pruner, Sampler


class SpaceSampler(BaseSampler):
    """One of Optuna's samplers, told which leaves to draw together.

    Optuna would infer that from all trials so far, at every proposal anew, and take a condition that happened to hold so far
    for one that always does.
    """

    def __init__(self, sampler: BaseSampler, together: dict[str, BaseDistribution]) -> None:
        self._sampler, self._together = sampler, together

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._together

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(study, trial)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._sampler.after_trial(study, trial, state, values)


class Samplers:
    """Makes the sampler of each single draw, so that a proposal follows from the seed and from what was drawn and told before:
    what a sampler remembers must be in Optuna's storage, or it is lost."""

    def __init__(self, space: Space, sampler: Sampler, seed: int, *, trials: int, metrics: int, has_pruner: bool) -> None:
        """
        Args:
            trials: how many there will be; 0 where that is not known.
            metrics: how many are searched on.
            has_pruner: whether trials may end early; cmaes learns from those too then, as tpe always does.
        """
        self._kind, self._seed, self._has_pruner = sampler.kind, seed, has_pruner
        self._startup = sampler.startup_trials or (min(10, max(2, trials // 4)) if trials else 10)
        self._together = _drawn_together(space, sampler.kind, metrics)
        # Numbers that CMA-ES rounds could all become equal; with a margin they never do (Hamano et al. 2022).
        self._rounds = any(
            search.kind != "choice" and search.is_discrete and search.path in self._together for search in space.searches
        )

    def of_draw(self, number: int) -> BaseSampler:
        """The sampler of one draw, by the number of its Optuna trial."""
        return SpaceSampler(self._make(self._seed_of(number)), self._together)

    def random(self, number: int) -> BaseSampler:
        """Who takes over where all that the sampler draws is turned down."""
        return RandomSampler(seed=self._seed_of(number))

    def _seed_of(self, number: int) -> int:
        return random.Random(f"{self._seed}, {number}").getrandbits(31)

    def _make(self, seed: int) -> BaseSampler:
        match self._kind:
            case "tpe":
                return TPESampler(seed=seed, n_startup_trials=self._startup, constant_liar=True)
            case "qmc":
                # One sequence for the whole study; how far it has come is in the storage.
                return QMCSampler(seed=self._seed, scramble=True, warn_independent_sampling=False)
            case "cmaes":
                return CmaEsSampler(
                    seed=seed,
                    n_startup_trials=self._startup,
                    with_margin=self._rounds,
                    consider_pruned_trials=self._has_pruner,
                    warn_independent_sampling=False,
                )
            case "gp":
                return GPSampler(seed=seed, n_startup_trials=self._startup, warn_independent_sampling=False)
            case _:
                return RandomSampler(seed=seed)


def make_pruner(pruner: Pruner, total_steps: int) -> BasePruner:
    """Optuna's pruner; what it knows is in the storage."""
    match pruner.kind:
        case "asha":
            return SuccessiveHalvingPruner(min_resource=pruner.first_step, reduction_factor=pruner.factor)
        case "hyperband":
            return HyperbandPruner(min_resource=pruner.first_step, max_resource=total_steps, reduction_factor=pruner.factor)
        case "median":
            return MedianPruner(n_startup_trials=pruner.startup_trials, n_warmup_steps=pruner.first_step)


def distribution(search: Search) -> BaseDistribution:
    """What Optuna makes of `Search.suggest`."""
    match search.kind:
        case "float":
            return FloatDistribution(search.low, search.high, step=search.step, log=search.log)
        case "int":
            return IntDistribution(int(search.low), int(search.high), step=int(search.step or 1), log=search.log)
        case "choice":
            return CategoricalDistribution([as_label(choice) for choice in search.choices])


def params_and_distributions(space: Space, settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """Settings as Optuna keeps them."""
    searches = [search for search in space.searches if search.path in settings]
    params = {
        search.path: as_label(settings[search.path]) if search.kind == "choice" else settings[search.path]
        for search in searches
    }
    return params, {search.path: distribution(search) for search in searches}


def _drawn_together(space: Space, kind: str, metrics: int) -> dict[str, BaseDistribution]:
    """The leaves of which a sampler learns how they depend on each other; it draws the others each by itself."""
    if kind == "random" or (kind == "tpe" and metrics > 1):  # Optuna's own default for several metrics
        return {}
    leaves = {search.path: distribution(search) for search in space.searches if kind == "qmc" or not search.when}
    if kind == "cmaes":
        leaves = {path: leaf for path, leaf in leaves.items() if not isinstance(leaf, CategoricalDistribution)}
    return {path: leaf for path, leaf in leaves.items() if not leaf.single()}
