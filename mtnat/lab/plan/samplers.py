"""Optuna's samplers and pruners by their names in a study file. Every sampler knows the search space beforehand."""

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
    """One of Optuna's samplers, with a fixed set of leaves that are drawn jointly.

    Without it, Optuna infers the set from all earlier trials at every proposal, and treats a leaf whose condition has held so
    far as one that is always searched.
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
    """Makes a new sampler for each draw. A proposal therefore depends only on the seed, the number of the draw and Optuna's
    storage, and a resumed study proposes the same as an uninterrupted one."""

    def __init__(self, space: Space, sampler: Sampler, seed: int, *, trials: int, metrics: int, has_pruner: bool) -> None:
        """
        Args:
            trials: expected number of proposals; 0 if it is not known.
            metrics: number of metrics that are searched on.
            has_pruner: whether trials may be pruned; cmaes then learns from pruned trials too, as tpe always does.
        """
        self._kind, self._seed, self._has_pruner = sampler.kind, seed, has_pruner
        self._startup = sampler.startup_trials or (min(10, max(2, trials // 4)) if trials else 10)
        self._together = _drawn_together(space, sampler.kind, metrics)
        # CMA-ES rounds discrete numbers, and without a margin all samples can become equal (Hamano et al. 2022).
        self._rounds = any(
            dimension.kind != "choice" and dimension.is_discrete and dimension.path in self._together
            for dimension in space.dimensions
        )

    def of_draw(self, number: int) -> BaseSampler:
        """Returns the sampler of one draw, given the number of its Optuna trial."""
        return SpaceSampler(self._make(self._seed_of(number)), self._together)

    def random(self, number: int) -> BaseSampler:
        """Returns a random sampler for a draw after the sampler's draws have all been rejected."""
        return RandomSampler(seed=self._seed_of(number))

    def _seed_of(self, number: int) -> int:
        return random.Random(f"{self._seed}, {number}").getrandbits(31)

    def _make(self, seed: int) -> BaseSampler:
        match self._kind:
            case "tpe":
                return TPESampler(seed=seed, n_startup_trials=self._startup, constant_liar=True)
            case "qmc":
                # One sequence for the whole study; its position is in Optuna's storage.
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
    """Returns the number of trials, proposed or not, after which a sampler learns from results."""
    return sampler.startup_trials or min(10, max(2, trials // 4))


def make_pruner(pruner: Pruner, total_steps: int) -> BasePruner:
    """Returns Optuna's pruner; its state is in Optuna's storage."""
    match pruner.kind:
        case "asha":
            return SuccessiveHalvingPruner(min_resource=pruner.first_step, reduction_factor=pruner.factor)
        case "hyperband":
            return HyperbandPruner(min_resource=pruner.first_step, max_resource=total_steps, reduction_factor=pruner.factor)
        case "median":
            return MedianPruner(n_startup_trials=pruner.startup_trials, n_warmup_steps=pruner.first_step)


def distribution(dimension: Dimension) -> BaseDistribution:
    """Returns the distribution that Optuna uses for `Dimension.suggest`."""
    match dimension.kind:
        case "float":
            return FloatDistribution(dimension.low, dimension.high, step=dimension.step, log=dimension.log)
        case "int":
            return IntDistribution(int(dimension.low), int(dimension.high), step=int(dimension.step or 1), log=dimension.log)
        case "choice":
            return CategoricalDistribution([as_label(choice) for choice in dimension.choices])


def params_and_distributions(space: Space, settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """Returns settings as Optuna stores them."""
    dimensions = [dimension for dimension in space.dimensions if dimension.path in settings]
    params = {
        dimension.path: as_label(settings[dimension.path]) if dimension.kind == "choice" else settings[dimension.path]
        for dimension in dimensions
    }
    return params, {dimension.path: distribution(dimension) for dimension in dimensions}


def _drawn_together(space: Space, kind: str, metrics: int) -> dict[str, BaseDistribution]:
    """Returns the leaves that a sampler draws jointly; it draws all other leaves independently."""
    if kind == "random" or (kind == "tpe" and metrics > 1):  # as Optuna does by default with several metrics
        return {}
    leaves = {dimension.path: distribution(dimension) for dimension in space.dimensions if kind == "qmc" or not dimension.when}
    if kind == "cmaes":
        leaves = {path: leaf for path, leaf in leaves.items() if not isinstance(leaf, CategoricalDistribution)}
    return {path: leaf for path, leaf in leaves.items() if not leaf.single()}
