"""The Pareto front against cases worked by hand and against Optuna."""

import random

import optuna
import pytest

from mtnat.lab.plan.pareto import pareto_front
from mtnat.lab.study.searching import Direction

BLEU_AND_SECONDS: list[Direction] = ["max", "min"]


def test_a_dominated_trial_is_not_on_the_front() -> None:
    values = [(42.0, 3.0), (40.0, 1.0), (39.0, 2.0), (41.0, 3.5)]
    assert pareto_front(values, BLEU_AND_SECONDS) == [True, True, False, False]


def test_a_trial_equal_in_one_metric_and_worse_in_the_other_is_not_on_the_front() -> None:
    assert pareto_front([(42.0, 3.0), (42.0, 4.0), (41.0, 3.0)], BLEU_AND_SECONDS) == [True, False, False]


def test_trials_with_equal_values_are_on_the_front_together() -> None:
    assert pareto_front([(42.0, 3.0), (42.0, 3.0), (1.0, 9.0)], BLEU_AND_SECONDS) == [True, True, False]


def test_the_front_of_one_metric_holds_the_best_trials() -> None:
    assert pareto_front([(1.0,), (3.0,), (2.0,), (3.0,)], ["max"]) == [False, True, False, True]
    assert pareto_front([(1.0,), (3.0,), (2.0,)], ["min"]) == [True, False, False]


def test_the_front_of_no_trials_is_empty() -> None:
    assert pareto_front([], BLEU_AND_SECONDS) == []


@pytest.mark.parametrize("seed", range(5))
def test_the_front_equals_optunas_best_trials(seed: int) -> None:
    dice = random.Random(seed)
    values = [tuple(float(dice.randint(0, 6)) for _ in range(3)) for _ in range(25)]
    directions: list[Direction] = ["max", "min", "min"]
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    study.add_trials([optuna.trial.create_trial(values=list(each)) for each in values])
    front = pareto_front(values, directions)
    assert [number for number, is_on_front in enumerate(front) if is_on_front] == [trial.number for trial in study.best_trials]
