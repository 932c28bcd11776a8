import itertools
import math

import pytest

from mtnat.config import build
from mtnat.errors import ConfigError
from mtnat.objective.config import ObjectiveConfig
from mtnat.objective.schedules import (
    Constant,
    Cosine,
    Exponential,
    Linear,
    Piecewise,
    Power,
    Schedule,
    Sigmoid,
    Step,
)
from mtnat.systems import MaskPredict

T = 100
RAMPS: list[Linear | Power | Cosine | Sigmoid | Exponential | Step] = [
    Linear(),
    Power(exponent=2.0),
    Power(exponent=0.5),
    Cosine(),
    Sigmoid(),
    Sigmoid(steepness=500.0, midpoint=0.9),
    Sigmoid(steepness=3.0, midpoint=0.0),
    Exponential(),
    Exponential(rate=-50.0),
    Exponential(rate=0.0),
    Step(),
    Step(threshold=1.0),
]

# Worked by hand: λ at steps 0, 50, 99 (the last one done) and 100 (after it) of T = 100.
HAND_WORKED: list[tuple[Schedule, tuple[float, float, float, float]]] = [
    (Constant(value=0.3), (0.3, 0.3, 0.3, 0.3)),
    (Linear(), (0.0, 0.5, 0.99, 1.0)),
    (Linear(start=0.2, end=0.8), (0.2, 0.5, 0.794, 0.8)),
    (Linear(start=1.0, end=0.0), (1.0, 0.5, 0.01, 0.0)),
    (Power(exponent=2.0), (0.0, 0.25, 0.9801, 1.0)),
    (Power(exponent=0.5), (0.0, 0.7071068, 0.9949874, 1.0)),
    (Cosine(), (0.0, 0.5, 0.9997533, 1.0)),  # (1 − cos 0.99π) / 2 = sin²(0.495π) = 1 − sin²(0.005π)
    (Sigmoid(), (0.0, 0.5, 0.9992918, 1.0)),  # ½ + tanh(2.45) / (2 tanh 2.5)
    (Exponential(rate=math.log(4)), (0.0, 2 / 3, 0.9953468, 1.0)),  # (1 − 4^−p) · 4/3
    (Exponential(rate=-math.log(4)), (0.0, 1 / 3, 0.9816436, 1.0)),  # (4^p − 1) / 3
    (Step(threshold=0.5), (0.0, 1.0, 1.0, 1.0)),
    (Step(threshold=0.995, start=0.1, end=0.9), (0.1, 0.1, 0.1, 0.9)),
    (Piecewise(knots=((0.0, 1.0), (0.5, 0.0), (1.0, 0.4))), (1.0, 0.0, 0.392, 0.4)),
]


@pytest.mark.parametrize(("schedule", "expected"), HAND_WORKED, ids=str)
def test_schedules_match_values_worked_by_hand(schedule: Schedule, expected: tuple[float, float, float, float]) -> None:
    assert [schedule(step, T) for step in (0, 50, 99, 100)] == pytest.approx(expected, abs=5e-8)


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in HAND_WORKED], ids=str)
def test_a_schedule_keeps_its_end_value_beyond_the_last_step(schedule: Schedule) -> None:
    assert schedule(101, T) == schedule(10 * T, T) == schedule(T, T)


@pytest.mark.parametrize("ramp", RAMPS, ids=str)
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (0.1, 0.7), (0.9, 0.3), (1.0, 0.0), (0.3, 0.3)])
def test_a_ramp_is_monotonic_and_meets_its_ends_exactly(ramp: Linear, start: float, end: float) -> None:
    ramp = ramp.model_copy(update={"start": start, "end": end})
    weights = [ramp(step, T) for step in range(T + 1)]
    assert (weights[0], weights[-1]) == (start, end)
    rises = [(later - earlier) * (1 if end >= start else -1) for earlier, later in itertools.pairwise(weights)]
    assert min(rises) >= -1e-15


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5, 1.0])
def test_a_step_schedule_has_its_end_value_from_the_threshold_on(threshold: float) -> None:
    step = Step(threshold=threshold)
    assert [step(t, 4) for t in range(5)] == [float(t / 4 >= threshold) for t in range(5)]


def test_piecewise_meets_its_knots_and_is_flat_outside_them() -> None:
    schedule = Piecewise(knots=((0.2, 0.1), (0.4, 0.9), (0.8, 0.5)))
    assert [schedule.at(progress) for progress in (0.2, 0.4, 0.8)] == pytest.approx([0.1, 0.9, 0.5])
    assert [schedule.at(progress) for progress in (0.0, 0.19, 0.81, 1.0)] == [0.1, 0.1, 0.5, 0.5]
    assert [schedule.at(progress) for progress in (0.25, 0.6)] == pytest.approx([0.3, 0.7])


def test_piecewise_with_one_knot_is_constant() -> None:
    assert {Piecewise(knots=((0.5, 0.25),)).at(progress / 10) for progress in range(11)} == {0.25}


@pytest.mark.parametrize("steepness", [5e-324, 1e-300, 1e-17, 1e-3])
@pytest.mark.parametrize("midpoint", [0.0, 0.3, 1.0])
def test_a_sigmoid_with_near_zero_steepness_is_linear(steepness: float, midpoint: float) -> None:
    sigmoid = Sigmoid(steepness=steepness, midpoint=midpoint)
    assert [sigmoid.at(progress) for progress in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([0.0, 0.25, 0.5, 1.0], abs=1e-3)


@pytest.mark.parametrize("rate", [-1e-12, 1e-12, 1e-300])
def test_an_exponential_with_near_zero_rate_is_linear(rate: float) -> None:
    assert [Exponential(rate=rate).at(progress) for progress in (0.0, 0.25, 1.0)] == pytest.approx([0.0, 0.25, 1.0])


def test_a_training_of_one_step_has_the_start_value() -> None:
    assert Linear()(0, 1) == 0.0


@pytest.mark.parametrize(
    ("knots", "problem"),
    [
        ([[0.5, 0.1], [0.5, 0.2]], "schedule.knots must rise in progress; got [0.5, 0.5]."),
        ([[0.0, 1.5]], "schedule.knots must lie between 0 and 1; got [[0.0, 1.5]]."),
        ([[0.0, "high"]], "schedule.knots.0.1: must be a valid number; got 'high'."),
        ([], "schedule.knots: must have at least 1 item after validation, not 0; got []."),
    ],
)
def test_invalid_knots_are_refused(knots: list[list[object]], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(ObjectiveConfig, {"schedule": {"kind": "piecewise", "knots": knots}})
    assert caught.value.problems == (problem,)


@pytest.mark.parametrize(
    ("kind", "system"),
    [
        ({"kind": "constant", "value": 0.0}, "at only"),
        ({"kind": "constant", "value": 1.0}, "nat only"),
        ({"kind": "constant", "value": 0.5}, "both"),
        ({"kind": "linear"}, "both"),
    ],
)
def test_the_schedule_decides_which_decoders_train(kind: dict[str, object], system: str) -> None:
    objective = build(ObjectiveConfig, {"schedule": kind})
    assert MaskPredict().trained(objective) == {"at only": ("at",), "nat only": ("nat",), "both": ("at", "nat")}[system]
