"""Simulated studies: marks of differences that are none, and of one that there is."""

import json

import pytest

from mtnat.bench.significance import SignificanceOptions, bench_significance
from mtnat.cli import main


def test_marks_of_equal_systems_are_rare_and_large_differences_are_found() -> None:
    """Two models alone differ significantly in many studies of equal systems, whose seeds deviate by 2 points."""
    options = SignificanceOptions(
        studies=60, systems=3, sentences=200, seeds=(3,), deviations=(2.0,), difference=12.0, resamples=200
    )
    (row,) = bench_significance(options, lambda _: None)
    assert isinstance(row["models_only_per_row"], float)
    assert row["models_only_per_row"] > 0.15
    assert isinstance(row["false_marks_per_leaderboard"], float)
    assert row["false_marks_per_leaderboard"] < 0.12
    assert isinstance(row["power"], float)
    assert row["power"] > 0.7


def test_the_advantage_of_a_chosen_winner_is_seen_and_estimated() -> None:
    """Of six equal systems the winner seems better than it is, by more than a third of the deviation between seeds."""
    options = SignificanceOptions(studies=100, sentences=200, seeds=(3,), deviations=(3.0,), resamples=100)
    (row,) = bench_significance(options, lambda _: None)
    advantage, estimate = row["winners_advantage"], row["winners_advantage_estimated"]
    assert isinstance(advantage, float)
    assert isinstance(estimate, float)
    assert 1.0 < advantage < 3.0
    assert abs(estimate - advantage) < 1.0


def test_looks_save_seeds_and_keep_the_error() -> None:
    options = SignificanceOptions(
        studies=60, systems=3, sentences=200, seeds=(8,), looks=(3, 5, 8), deviations=(2.0,), difference=8.0, resamples=200
    )
    whole, looked = bench_significance(options, lambda _: None)
    assert (whole["seeds"], looked["seeds"]) == (8, "3, 5, 8")
    assert whole["seeds_used"] == 8.0
    used, false_marks, power = looked["seeds_used"], looked["false_marks_per_leaderboard"], looked["power"]
    assert isinstance(used, float)
    assert used < 5
    assert isinstance(false_marks, float)
    assert false_marks < 0.12
    assert isinstance(power, float)
    assert power > 0.8


def test_a_study_with_one_seed_has_no_marks(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "significance", "--studies", "10", "--seeds", "1", "--deviations", "1", "--sentences", "50", "--json"]
    assert main(command) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["false_marks_per_row"], row["false_marks_per_leaderboard"], row["power"]) == (None, None, None)
    assert (row["seeds"], row["deviation"], row["studies"]) == (1, 1.0, 10)


def test_wrong_options_of_the_simulation_give_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "significance", "--studies", "1"]) == 2
    assert capsys.readouterr().err == "mtnat: studies: must be greater than or equal to 10; got 1.\n"
    assert main(["bench", "significance", "--seeds", "0"]) == 2
    assert capsys.readouterr().err == "mtnat: seeds.0: must be greater than or equal to 1; got 0.\n"
    assert main(["bench", "significance", "--looks", "5", "3"]) == 2
    assert capsys.readouterr().err == "mtnat: looks must ascend; got [5, 3].\n"
