"""A small study and its results, shared by several tests."""

from collections.abc import Sequence
from typing import Any

from mtnat.config import build
from mtnat.evaluation import Comparison, Score
from mtnat.lab.outputs.runs import Result, Run
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.plan.listed_proposer import ListedProposer
from mtnat.lab.results.leaderboard import Leaderboard, make_leaderboard
from mtnat.lab.study.record import Settings, Study
from mtnat.training import Speed

TINY = {
    "data": {"corpus": "grammar-en-de", "corpus_size": 200, "vocabulary_size": 200, "max_length": 32},
    "model": {
        "width": 16,
        "heads": 2,
        "feed_forward": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "dropout": 0.0,
        "max_positions": 32,
    },
    "training": {"steps": 4, "warmup_steps": 1, "validate_every": 2, "valid_sentences": 10, "log_every": 2},
}
"""An experiment that trains in a moment."""
EXPONENT = "objective.schedule.exponent"


def power(exponent: float) -> Settings:
    return {"objective.schedule.kind": "power", EXPONENT: exponent}


def study(**changes: Any) -> Study:
    data = {
        "question": "Which?",
        "experiment": {"data": {"corpus": "grammar-en-de"}, "training": {"steps": 20, "warmup_steps": 5}, "seed": 1},
        "baselines": {"Fixed λ": {"objective.schedule": {"kind": "constant", "value": 0.5}}, "linear": {}},
        "search": {EXPONENT: {"float": [0.1, 10.0]}},
        "trials": 3,
        "confirm": {"top": 1, "seeds": [1, 2], "against": "linear"},
    }
    return build(Study, data | changes)


Scores = dict[str, list[tuple[float | None, float | None]]]
"""Validation and test BLEU of a trial's runs with seeds 1 and 2."""


class Verdict:
    """A judge with a fixed verdict."""

    def __init__(self, p_value: float) -> None:
        self.p_value = p_value

    def compare(self, run: Run, other: Run) -> float:
        return self.p_value

    def compare_over_seeds(self, runs: Sequence[Run], others: Sequence[Run]) -> Comparison:
        assert [run.experiment.seed for run in runs] == [run.experiment.seed for run in others]
        return Comparison(difference=0.0, p_value=min(1.0, self.p_value * 4), low=-2.0, high=1.0, baseline=0.0, system=0.0)

    def tokenized(self, run: Run) -> Score | None:
        return Score(10.0 + run.experiment.seed, "moses")


def concluded(a_study: Study, scores: Scores, p_value: float = 0.5, *, is_settled: bool = False) -> Leaderboard:
    agenda = Agenda(a_study, ListedProposer(power(2.0), power(3.0)), {}, is_settled=lambda: is_settled)
    while run := agenda.next():
        valid, test = scores[run.trial][run.experiment.seed - 1]
        agenda.end(
            Result(
                run=run.id,
                valid=valid,
                test=test if run.phase == "confirm" else None,
                signature="sig" if run.phase == "confirm" else None,
                seconds=10.0,
                failed="it diverged" if valid is None else None,
            )
        )
    return make_leaderboard("s", a_study, agenda, Verdict(p_value), test_set="grammar", seconds=60.0, notes=["Taught."])


SCORES: Scores = {
    "Fixed λ": [(20.0, 21.0), (21.0, 22.0)],
    "linear": [(22.0, 24.0), (24.0, 26.0)],
    "trial-01": [(19.0, None), (None, None)],
    "trial-02": [(23.0, 23.5), (24.0, 24.0)],
}


METRICS = [{"valid.bleu": "max"}, {"decode.seconds": "min"}]
SPEEDS = {"transformer": 0.5, "linear": 4.0, "fixed": 4.0, "trial-01": 2.0, "trial-02": 6.0, "trial-03": 3.0}
QUALITIES = {"transformer": 60.0, "linear": 40.0, "fixed": 40.0, "trial-01": 30.0, "trial-02": 39.0, "trial-03": 45.0}


def traded(**changes: Any) -> Leaderboard:
    """The leaderboard of a study with two metrics; seed 2 translates one point better, in one second more."""
    baselines = {
        "transformer": {"objective.schedule": {"kind": "constant", "value": 0.0}},
        "fixed": {"objective.schedule": {"kind": "constant", "value": 0.5}},
        "linear": {},
    }
    a_study = study(**{"metrics": METRICS, "baselines": baselines} | changes)
    agenda = Agenda(a_study, ListedProposer(*map(power, (2.0, 3.0, 4.0))), {})
    while run := agenda.next():
        more = run.experiment.seed - 1.0
        agenda.end(
            Result(
                run=run.id,
                valid=QUALITIES[run.trial] + more,
                decode_seconds=SPEEDS[run.trial] + more,
                test=20.0 if run.phase == "confirm" else None,
            )
        )
    return make_leaderboard("s", a_study, agenda, Verdict(0.5), test_set="grammar", seconds=1.0)


def timed() -> Leaderboard:
    """The leaderboard of a study that measures speed."""
    confirm = {"top": 0, "seeds": [1, 2], "against": "linear", "speed_sentences": 10}
    a_study = study(trials=0, search={}, confirm=confirm)
    agenda = Agenda(a_study, ListedProposer(), {})
    while run := agenda.next():
        speed = Speed(sentences_per_second=120.0 / run.experiment.seed, latency=0.01 * run.experiment.seed, passes=4, layers=14)
        assert run.speed_sentences == (10 if run.phase == "speed" else None)
        test = None if run.phase == "search" else 20.0
        agenda.end(Result(run=run.id, valid=20.0, test=test, speed=speed if run.phase == "speed" else None))
    return make_leaderboard("s", a_study, agenda, Verdict(0.5), test_set="grammar", seconds=1.0)
