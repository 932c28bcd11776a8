"""Counting runs and extrapolating their measured pace."""

from typing import Any

import pytest

from mtnat.config import build, replace
from mtnat.experiment import Experiment
from mtnat.lab.outputs.runs import Result
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.plan.optuna_proposer import make_proposer
from mtnat.lab.plan.proposer import NoProposals
from mtnat.lab.rehearsal.dry_run import MOST_PROPOSALS, outset
from mtnat.lab.rehearsal.estimate import Pace, Phase, kind_of, phases, training_seconds, wall_seconds
from mtnat.lab.study.record import Settings, Study

PACE = Pace(step=0.5, sentence=0.1, valid=40, test=20)
AT, NAT = ({"objective.schedule": {"kind": "constant", "value": value}} for value in (0.0, 1.0))
SCHEDULE = "objective.schedule.kind"
DROPOUT = {"model.dropout": {"float": [0.0, 0.3]}}


def of(**changes: Any) -> Study:
    experiment = {
        "data": {"corpus": "grammar-en-de"},
        "training": {"steps": 100, "warmup_steps": 10, "validate_every": 40, "valid_sentences": 10},
    }
    return build(Study, {"question": "?", "experiment": experiment} | changes)


def plan(study: Study, at_once: int = 1) -> list[Phase]:
    drawn = [study.experiment] if study.search else []
    return phases(study, drawn, lambda experiment: PACE, at_once)


def test_the_training_time_is_the_time_of_the_steps_and_validations() -> None:
    experiment = of(baselines={"one": {}}).experiment
    assert training_seconds(experiment, PACE) == pytest.approx(100 * 0.5 + 3 * 10 * 0.1)  # after 40, 80 and 100 steps
    every = replace(experiment, {"training.valid_sentences": 0, "training.model": "average_last"})
    assert training_seconds(every, PACE) == pytest.approx(100 * 0.5 + 4 * 40 * 0.1)  # and the mean of several at the end


@pytest.mark.parametrize(
    ("one", "other", "are_equally_fast"),
    [
        ({SCHEDULE: "linear"}, {SCHEDULE: "cosine"}, True),
        ({SCHEDULE: "linear"}, {SCHEDULE: "step"}, False),  # in which one decoder is always idle
        (AT, NAT, False),
        ({}, {"training.steps": 7_000, "training.peak_learning_rate": 1e-3, "objective.label_smoothing": 0.0}, True),
        ({"model.dropout": 0.1}, {"model.dropout": 0.2}, True),
        ({"model.dropout": 0.1}, {"model.dropout": 0.0}, False),
        ({}, {"decoding.iterations": 4}, False),
        ({}, {"training.max_tokens_per_batch": 4_096}, False),
        ({"objective.estimator": "sampled"}, {"objective.estimator": "sampled", SCHEDULE: "cosine"}, False),
    ],
)
def test_experiments_of_equal_speed_share_one_measurement(one: Settings, other: Settings, are_equally_fast: bool) -> None:
    base = of(baselines={"one": {}}).experiment
    assert (kind_of(replace(base, one)) == kind_of(replace(base, other))) is are_equally_fast


@pytest.mark.parametrize(
    "changes",
    [
        {"baselines": {"one": {}, "two": AT}},
        {"search": DROPOUT, "trials": 7},
        {"search": DROPOUT, "trials": 7, "horizon": {"steps": [10, 30, 100], "keep": 0.34}},
        {
            "baselines": {"one": {}, "two": AT},
            "search": DROPOUT,
            "trials": 7,
            "confirm": {"top": 2, "seeds": [1, 2, 3], "against": "one"},
        },
        {"baselines": {"one": {}}, "confirm": {"top": 0, "seeds": [4, 5], "against": "one"}},
    ],
)
def test_the_estimate_counts_as_many_runs_as_the_agenda_plans(changes: dict[str, Any]) -> None:
    study = of(**changes)
    assert sum(phase.runs for phase in plan(study)) == Agenda(study, NoProposals(), {}).planned[1]


def test_every_confirm_seed_scores_the_test_set_even_without_training() -> None:
    study = of(baselines={"one": {}}, confirm={"top": 0, "seeds": [1, 2], "against": "one"})
    training = training_seconds(study.experiment, PACE)
    assert plan(study)[1].seconds == pytest.approx((training + 2.0, 2.0))


def test_phases_that_wait_run_in_sequence_and_other_phases_overlap() -> None:
    def phase(*seconds: float, waits: bool = False) -> Phase:
        return Phase(name="", runs=0, seconds=seconds, gpus=0, waits=waits)

    assert wall_seconds([phase(3, 3, 3), phase(3)], at_once=2) == 6
    assert wall_seconds([phase(3, 3, 3), phase(3, waits=True)], at_once=2) == 9
    assert wall_seconds([phase(5, 1, 1, 1)], at_once=2) == 5


def test_a_budget_limits_the_estimated_runs_of_the_search() -> None:
    training = training_seconds(of(baselines={"one": {}}).experiment, PACE)
    hours = 10 * training / 3600
    study = of(search=DROPOUT, budget={"hours": hours})
    assert plan(study)[0].runs == pytest.approx(10, abs=1)
    assert plan(study, at_once=2)[0].runs == pytest.approx(20, abs=1)
    study = of(search=DROPOUT, trials=4, budget={"hours": hours})
    assert plan(study)[0].runs == 4
    study = of(search=DROPOUT, budget={"gpu_hours": hours}, resources={"gpus_per_worker": 0.5})
    assert plan(study)[0].runs == pytest.approx(20, abs=1)
    assert plan(study)[0].gpu_seconds == pytest.approx(10 * training, rel=0.1)


@pytest.mark.parametrize("baselines", [{"one": NAT}, {"in the search space": {}, "one": NAT}])
def test_the_shown_proposals_are_the_first_proposals_of_the_study(baselines: dict[str, Settings], tmp_path: Any) -> None:
    study = of(
        baselines=baselines,
        search={
            SCHEDULE: {"choice": ["linear", "power", "cosine"]},
            "objective.schedule.exponent": {"float": [0.25, 4.0], "log": True, "when": {SCHEDULE: "power"}},
        },
        trials=20,
    )
    proposer = make_proposer(study, tmp_path / "journal")
    agenda = Agenda(study, proposer, {})
    for score in range(len(baselines) + MOST_PROPOSALS):
        run = agenda.next()
        assert run is not None
        agenda.end(Result(run=run.id, valid=float(score)))
    shown = outset(study).proposals
    assert len(shown) == MOST_PROPOSALS - ("in the search space" in baselines)
    assert all(agenda.trials[trial.name].settings == trial.settings for trial in shown)


def test_the_parameter_count_equals_that_of_the_built_translator() -> None:
    from mtnat.data import prepare

    experiment = build(
        Experiment,
        {
            "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300, "joint_vocabulary": False},
            "model": {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 1},
            "training": {"steps": 4, "warmup_steps": 1},
        },
    )
    translator = experiment.build_translator(prepare(experiment.data).vocabularies)
    assert experiment.parameters == sum(weight.numel() for weight in translator.parameters())
