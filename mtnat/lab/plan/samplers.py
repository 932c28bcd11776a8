"""Optuna's samplers and pruners, as a study file names them; each sampler knows the search space beforehand."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from mtnat.lab.study.searching import Pruner, Sampler
from mtnat.lab.study.space import Dimension, Space, as_label


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
            dimension.kind != "choice" and dimension.is_discrete and dimension.path in self._together
            for dimension in space.dimensions
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


def startup_trials(sampler: Sampler, trials: int) -> int:
    """After how many trials, those it did not propose included, a sampler learns from what came of them."""
    return sampler.startup_trials or min(10, max(2, trials // 4))


def make_pruner(pruner: Pruner, total_steps: int) -> BasePruner:
    """Optuna's pruner; what it knows is in the storage."""
    match pruner.kind:
        case "asha":
            return SuccessiveHalvingPruner(min_resource=pruner.first_step, reduction_factor=pruner.factor)
        case "hyperband":
            return HyperbandPruner(min_resource=pruner.first_step, max_resource=total_steps, reduction_factor=pruner.factor)
        case "median":
            return MedianPruner(n_startup_trials=pruner.startup_trials, n_warmup_steps=pruner.first_step)


def distribution(dimension: Dimension) -> BaseDistribution:
    """What Optuna makes of `Dimension.suggest`."""
    match dimension.kind:
        case "float":
            return FloatDistribution(dimension.low, dimension.high, step=dimension.step, log=dimension.log)
        case "int":
            return IntDistribution(int(dimension.low), int(dimension.high), step=int(dimension.step or 1), log=dimension.log)
        case "choice":
            return CategoricalDistribution([as_label(choice) for choice in dimension.choices])


def params_and_distributions(space: Space, settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """Settings as Optuna keeps them."""
    dimensions = [dimension for dimension in space.dimensions if dimension.path in settings]
    params = {
        dimension.path: as_label(settings[dimension.path]) if dimension.kind == "choice" else settings[dimension.path]
        for dimension in dimensions
    }
    return params, {dimension.path: distribution(dimension) for dimension in dimensions}


def _drawn_together(space: Space, kind: str, metrics: int) -> dict[str, BaseDistribution]:
    """The leaves of which a sampler learns how they depend on each other; it draws the others each by itself."""
    if kind == "random" or (kind == "tpe" and metrics > 1):  # Optuna's own default for several metrics
        return {}
    leaves = {dimension.path: distribution(dimension) for dimension in space.dimensions if kind == "qmc" or not dimension.when}
    if kind == "cmaes":
        leaves = {path: leaf for path, leaf in leaves.items() if not isinstance(leaf, CategoricalDistribution)}
    return {path: leaf for path, leaf in leaves.items() if not leaf.single()}
