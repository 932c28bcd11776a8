"""Rows, marks, the winner and the answer, from results written by hand."""

from pathlib import Path

import pytest
from small_study import SCORES, Scores, Verdict, concluded, power, study, timed, traded

from mtnat.lab.outputs.runs import Result, Run
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.plan.listed_proposer import ListedProposer
from mtnat.lab.report.cells import leaderboard_rows
from mtnat.lab.report.front_plot import draw_front
from mtnat.lab.report.markdown import leaderboard_markdown
from mtnat.lab.report.speed_plot import draw_speed
from mtnat.lab.results.costs import Spent, spent
from mtnat.lab.results.leaderboard import Leaderboard, make_leaderboard
from mtnat.lab.results.rows import combined_p, interval
from mtnat.lab.study.record import Study

TRIAL = "trial-02 (objective.schedule.kind = power, objective.schedule.exponent = 3)"
"""How an answer names the proposal."""


def test_the_winner_among_equal_trials_is_a_trial_whose_model_is_kept() -> None:
    # With more than 99 proposals, trial-100 sorts before trial-20.
    many = study(baselines={}, trials=104, confirm=None, keep_models=1)
    agenda = Agenda(many, ListedProposer(*(power(1.0 + number / 100) for number in range(104))), {})
    while run := agenda.next():
        agenda.end(Result(run=run.id, valid=1.0 if run.trial < "trial-20" and len(run.trial) == 8 else 2.0))
    board = make_leaderboard("s", many, agenda, Verdict(1.0), test_set="grammar", seconds=60.0, notes=[])
    assert board.winner == "trial-20"
    assert agenda.kept() == {"trial-20"}


def test_rows_rank_by_test_score_and_the_winner_is_chosen_on_the_validation_set() -> None:
    board = concluded(study(trials=2), SCORES, p_value=0.003)
    assert [(row.name, row.confirmed) for row in board.rows] == [
        ("linear", True),
        ("trial-02", True),
        ("Fixed λ", True),
        ("trial-01", False),
    ]
    rows = {row.name: row for row in board.rows}
    assert (rows["linear"].mean, rows["linear"].against, rows["linear"].mark) == (25.0, None, "")
    assert rows["trial-02"].scores == (23.5, 24.0)
    assert rows["trial-02"].difference == pytest.approx(23.75 - 25.0)
    assert rows["trial-02"].p_value == pytest.approx(0.006)
    assert (rows["trial-02"].difference_interval, rows["trial-02"].p_value_over_seeds) == ((-2.0, 1.0), 0.012)
    assert rows["trial-02"].p_value_adjusted == pytest.approx(0.024)  # two rows are compared
    assert rows["trial-02"].mark == "↓"
    assert (rows["trial-02"].tokenized, rows["trial-02"].tokenized_signature) == ((11.0, 12.0), "moses")
    assert (rows["linear"].p_value_over_seeds, rows["trial-01"].tokenized) == (None, ())
    assert rows["trial-02"].settings == power(3.0)
    assert (rows["trial-01"].mean, rows["trial-01"].scores, rows["trial-01"].p_value) == (19.0, (19.0,), None)
    assert (board.winner, board.best_seed) == ("trial-02", 2)  # valid 23.5 against 23.0
    assert board.answer == (
        f"{TRIAL} is best on the validation set, but worse than linear on the test set: "
        "23.8 BLEU on the test set (2 seeds), -1.2 against linear (↓, p = 0.024 over seeds and sentences)."
    )


def test_the_notes_and_the_answer_name_the_training_text_unless_it_is_the_corpus_own() -> None:
    experiment = {
        "data": {"corpus": "grammar-en-de", "rejuvenated": "rejuvenated.de"},
        "training": {"steps": 20, "warmup_steps": 5},
    }
    baselines = {
        "Fixed λ": {"objective.schedule": {"kind": "constant", "value": 0.5}, "data.rejuvenated": None},
        "linear": {},
    }
    board = concluded(study(trials=2, experiment=experiment, baselines=baselines), SCORES)
    assert "Training text: rejuvenated for linear, trial-02, trial-01; raw for Fixed λ." in board.notes
    assert board.answer.endswith(" trial-02 was trained on this text: rejuvenated.")
    baselines["Fixed λ"].pop("data.rejuvenated")
    board = concluded(study(trials=2, experiment=experiment, baselines=baselines), SCORES)
    assert "Training text of all trials: rejuvenated." in board.notes
    board = concluded(study(trials=2), SCORES)
    assert "trained on this text" not in board.answer
    assert not [note for note in board.notes if note.startswith("Training text")]


def test_the_advantage_of_the_chosen_winner_is_estimated_and_noted() -> None:
    # Over both seeds linear wins with 25.5. Seed 1 alone chooses trial-02, which has 20.0 with seed 2; seed 2 alone chooses
    # linear, which has 24.0 with seed 1.
    scores: Scores = {
        "Fixed λ": [(5.0, 5.0), (5.0, 5.0)],
        "linear": [(22.0, 24.0), (26.0, 27.0)],
        "trial-01": [(19.0, None), (None, None)],
        "trial-02": [(25.0, 26.0), (20.0, 20.0)],
    }
    board = concluded(study(trials=2), scores)
    assert (board.winner, board.winner_cross_fitted) == ("linear", 22.0)
    assert (
        "linear was chosen with the seeds that are tested, which favours it. If the winner for each seed is chosen with the "
        "other seeds, the winners' mean on the test set is 22.0 instead of 25.5."
    ) in board.notes
    assert concluded(study(trials=2), SCORES | {"linear": [(50.0, 52.0), (50.0, 52.0)]}).winner_cross_fitted == 52.0


def test_the_winner_of_a_search_by_loss_is_one_whose_model_is_kept() -> None:
    by_loss = study(trials=2, metric="valid.loss", confirm=None, baselines={}, keep_models=1)
    agenda = Agenda(by_loss, ListedProposer(power(2.0), power(3.0)), {})
    for valid, loss in ((30.0, 2.5), (20.0, 1.25)):
        run = agenda.next()
        assert run
        agenda.end(Result(run=run.id, valid=valid, valid_loss=loss))
    board = make_leaderboard("s", by_loss, agenda, Verdict(1.0), test_set="grammar", seconds=1.0)
    assert {board.winner} == agenda.kept() == {"trial-02"}
    assert board.answer == (
        f"{TRIAL} is best on the validation set with a loss of 1.250 and 20.0 BLEU; that was one seed and no test set, "
        "so add `confirm` to the study to test it."
    )
    assert [row["valid.loss"] for row in leaderboard_rows(board)] == ["2.500", "1.250"]
    assert "it is comparable between trials of one system only." in leaderboard_markdown(board)


def test_looks_make_p_values_larger_and_count_the_seeds_they_save() -> None:
    confirm = {"top": 1, "seeds": [1, 2, 3, 4], "against": "linear", "looks": [2, 4]}
    better: Scores = SCORES | {"trial-02": [(23.5, 26.5), (24.0, 27.5)]}
    settled = concluded(study(trials=2, confirm=confirm), better, p_value=0.001, is_settled=True)
    row = next(row for row in settled.rows if row.name == settled.winner)
    # Two rows (Holm), and a level of 0.031 at the first look instead of 0.05.
    assert row.p_value_adjusted == pytest.approx(2 * 0.004 * 0.05 / 0.0310, rel=0.01)
    assert settled.is_settled
    assert settled.notes[1] == (
        "The answer was settled after 2 of 4 seeds, which saved 6 runs; p is adjusted for the looks after 2 and 4 seeds "
        "(Lan and DeMets 1983)."
    )


def test_seeds_with_contradicting_differences_are_not_significant() -> None:
    board = concluded(study(trials=2), SCORES | {"trial-02": [(23.0, 44.0), (24.0, 16.0)]}, p_value=0.001)
    row = next(row for row in board.rows if row.name == "trial-02")
    assert row.difference == pytest.approx((20.0 - 10.0) / 2)
    assert row.p_value == 1.0


def answer(p_value: float = 0.5, **scores: list[tuple[float | None, float | None]]) -> str:
    return concluded(
        study(trials=2), SCORES | {name.replace("_", "-"): value for name, value in scores.items()}, p_value
    ).answer


def test_the_answer_states_the_winner_and_the_significance_of_its_difference() -> None:
    better: list[tuple[float | None, float | None]] = [(23.5, 26.5), (24.0, 27.5)]
    assert answer(trial_02=better, p_value=0.001) == (
        f"{TRIAL}, best on the validation set, translates better than linear: "
        "27.0 BLEU on the test set (2 seeds), +2.0 against linear (⇑, p = 0.008 over seeds and sentences)."
    )
    # A small p-value of the two models does not suffice, and two comparisons need a smaller p-value than one.
    assert answer(trial_02=better, p_value=0.01) == (
        f"No difference to linear is significant at 0.05; {TRIAL} is best on the validation set, with "
        "27.0 BLEU on the test set (2 seeds), +2.0 against linear (p = 0.080 over seeds and sentences)."
    )
    assert answer() == (
        f"No difference to linear is significant at 0.05; {TRIAL} is best on the validation set, with "
        "23.8 BLEU on the test set (2 seeds), -1.2 against linear (p = 1.000 over seeds and sentences)."
    )
    assert answer(trial_02=[(9.0, 9.0), (9.0, 9.0)], trial_01=[(8.0, 9.0), (8.0, 9.0)]) == (
        "linear itself is best on the validation set, with 25.0 BLEU on the test set (2 seeds); "
        "nothing that was tried does better there."
    )


def test_a_failed_seed_is_left_out_and_reported() -> None:
    board = concluded(study(trials=2), SCORES | {"trial-02": [(23.0, 23.5), (None, None)]}, p_value=0.003)
    row = next(row for row in board.rows if row.name == "trial-02")
    assert (row.seeds, row.scores, row.interval, row.failed) == ((1,), (23.5,), None, "it diverged")
    assert row.difference == pytest.approx(23.5 - 24.0)  # seed 1 against seed 1
    assert (row.p_value, row.p_value_adjusted, row.mark) == (0.003, None, "")  # one seed tells nothing about others
    assert "trial-02 failed: it diverged" in leaderboard_markdown(board)
    assert "Taught.\n" in leaderboard_markdown(board)


def test_a_baseline_without_scores_allows_no_comparison() -> None:
    board = concluded(study(trials=2), SCORES | {"linear": [(None, None), (None, None)]})
    assert "linear has no score to compare with" in board.answer
    assert all(row.p_value is None for row in board.rows)


def test_a_study_whose_runs_all_failed_has_no_answer() -> None:
    board = concluded(study(trials=2), {name: [(None, None), (None, None)] for name in SCORES})
    assert board.answer.startswith("There is no answer")
    assert (board.winner, board.best_seed) == (None, None)


def test_without_a_confirm_phase_no_row_has_a_significance_mark() -> None:
    board = concluded(study(trials=2, confirm=None), SCORES)
    assert [(row.name, row.mean) for row in board.rows] == [
        ("trial-02", 23.0),
        ("linear", 22.0),
        ("Fixed λ", 20.0),
        ("trial-01", 19.0),
    ]
    assert not any(row.confirmed or row.mark for row in board.rows)
    assert (board.winner, board.best_seed, board.test_set) == ("trial-02", 1, None)
    assert "one seed and no test set" in board.answer


def test_the_number_of_seeds_is_suggested_from_four_seeds_on() -> None:
    differences = {1: [0.1], 2: [0.1, -0.11], 4: [0.1, -0.11, 1.0, -0.9], 5: [1.0, 0.0, 1.2, 0.9, 0.1]}
    found = {}
    for seeds, several in differences.items():
        scores: Scores = {
            "linear": [(22.0, 24.0)] * seeds,
            "Fixed λ": [(20.0, 20.0)] * seeds,
            "trial-01": [(19.0, None)] * seeds,
            "trial-02": [(24.0, 24.0 + each) for each in several],
        }
        confirm = {"top": 1, "seeds": list(range(1, seeds + 1)), "against": "linear"}
        board = concluded(study(trials=2, confirm=confirm), scores)
        found[seeds] = (next(row.seeds_needed for row in board.rows if row.name == "trial-02"), board.answer)
    assert [needed for needed, _ in found.values()] == [None, None, "more than 1,000", 8]
    assert found[4][1].endswith(" More than 1,000 seeds would be needed to see a difference of this size.")
    assert found[5][1].endswith(" About 8 seeds would be needed to see a difference of this size.")
    assert "seeds would be needed" not in found[2][1]
    assert found[1][1] == (
        f"{TRIAL} is best on the validation set, with 24.1 BLEU on the test set (1 seed), +0.1 against linear (p = 0.500 for "
        "these two models). One seed does not tell whether other seeds would agree; add seeds to confirm.seeds."
    )


def test_a_difference_that_rounds_to_zero_has_no_mark() -> None:
    scores = SCORES | {"trial-02": [(23.0, 24.03), (24.0, 26.03)], "Fixed λ": [(20.0, 24.1), (21.0, 26.1)]}
    rows = {row.name: row for row in concluded(study(trials=2), scores, p_value=0.0001).rows}
    assert (rows["trial-02"].mark, rows["Fixed λ"].mark) == ("", "⇑")


def ended_early(a_study: Study, *results: Result) -> Leaderboard:
    """The leaderboard of proposals with these results in each of their runs; every other trial has 10 BLEU."""
    agenda = Agenda(a_study, ListedProposer(*map(power, (2.0, 3.0, 4.0, 5.0))), {})
    by_trial = {f"trial-{number:02d}": result for number, result in enumerate(results, 1)}
    while run := agenda.next():
        found = by_trial.get(run.trial, Result(run="", valid=10.0))
        agenda.end(found.model_copy(update={"run": run.id, "seconds": 1.0}))
    return make_leaderboard("s", a_study, agenda, Verdict(0.5), test_set="grammar", seconds=1.0)


def test_pruned_trials_rank_last_and_never_win() -> None:
    board = ended_early(
        study(trials=2, confirm=None), Result(run="", valid=60.0, pruned=4), Result(run="", valid=50.0, pruned=8)
    )
    assert [(row["name"], row["BLEU"]) for row in leaderboard_rows(board)] == [
        ("Fixed λ", "10.00 (valid)"),
        ("linear", "10.00 (valid)"),
        ("trial-02", "50.00 (pruned at step 8)"),
        ("trial-01", "60.00 (pruned at step 4)"),
    ]
    assert (board.winner, board.rows[3].settings) == ("Fixed λ", power(2.0))
    assert "not trained to their end" in leaderboard_markdown(board)


def test_trials_that_ended_at_a_shorter_rung_rank_last_and_never_win() -> None:
    horizon = {"steps": [10, 20], "keep": 0.25}
    scores = [Result(run="", valid=valid) for valid in (4.0, 7.0, 8.0, 6.0)]
    board = ended_early(study(trials=4, confirm=None, horizon=horizon), *scores)
    assert [(row["name"], row["BLEU"], row["seconds"]) for row in leaderboard_rows(board)] == [
        ("Fixed λ", "10.00 (valid)", "1"),
        ("linear", "10.00 (valid)", "1"),
        ("trial-03", "8.00 (valid)", "2"),
        ("trial-02", "7.00 (valid, T = 10)", "1"),
        ("trial-04", "6.00 (valid, T = 10)", "1"),
        ("trial-01", "4.00 (valid, T = 10)", "1"),
    ]
    better = ended_early(study(trials=4, confirm=None, horizon=horizon), *(Result(run="", valid=90.0) for _ in range(4)))
    assert [row.valid for row in better.rows] == [90.0, 10.0, 10.0, 90.0, 90.0, 90.0]
    assert better.winner == better.rows[0].name
    assert better.rows[0].is_full


def test_the_front_holds_only_trials_that_could_win() -> None:
    board = traded(confirm=None)
    assert {row.name for row in board.rows if row.on_front} == {"trial-01", "trial-03"}
    assert {row.name: row.metrics for row in board.rows}["trial-03"] == {"decode.seconds": 3.0}
    assert (board.winner, board.objectives) == ("trial-03", {"valid.bleu": "max", "decode.seconds": "min"})
    assert board.answer.endswith(
        "On the front of valid.bleu and decode.seconds: trial-03 (45.0, 3.00 s); trial-01 (30.0, 2.00 s)."
    )
    rows = {row["name"]: row for row in leaderboard_rows(board)}
    assert (rows["trial-03"]["decode.seconds"], rows["trial-03"]["front"], rows["linear"]["front"]) == ("3.00", "●", "")
    assert "may be chance" in leaderboard_markdown(board)


def test_a_confirmed_front_uses_means_over_seeds_and_notes_unconfirmed_trials() -> None:
    board = traded()  # of which only trial-03 is confirmed
    assert [row.name for row in board.rows if row.on_front] == ["trial-03"]
    assert board.answer.endswith(
        "trial-03 (45.5, 3.50 s) is alone on the front of valid.bleu and decode.seconds: no other is better in any of them."
    )
    assert any("not confirmed: trial-01;" in note for note in board.notes)


def test_trials_with_equal_metrics_are_on_the_front_together() -> None:
    board = traded(confirm=None, trials=0, search={})
    assert {row.name for row in board.rows if row.on_front} == {"fixed", "linear"}


def test_the_front_is_drawn_as_a_png_file(tmp_path: Path) -> None:
    for name, board in {"confirmed": traded(), "searched": traded(confirm=None)}.items():
        draw_front(board, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_speeds_have_columns_a_note_and_a_picture(tmp_path: Path) -> None:
    board = timed()
    columns = ("sentences/s", "ms for one", "passes", "layers in sequence")
    for row in leaderboard_rows(board):
        assert [row[column] for column in columns] == ["120", "10.0", "4.0", "14.0"]
    assert "Layers in sequence do not depend on the machine" in leaderboard_markdown(board)
    draw_speed(board, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    without = concluded(study(trials=2), SCORES)
    assert not leaderboard_rows(without)[0].keys() & {*columns}


def test_the_costs_of_all_runs_are_summed() -> None:
    board = concluded(study(trials=2), SCORES)
    assert board.spent == Spent(seconds=70.0)
    assert {row.name: row.spent.seconds for row in board.rows}["trial-02"] == 20.0
    known = [Result(run="a", gpu_seconds=2.0, tokens=5, joules=3.0), Result(run="b", gpu_seconds=1.0, tokens=6)]
    assert spent(known) == Spent(gpu_seconds=3.0, tokens=11, joules=3.0)
    assert (spent([]).tokens, spent([]).joules) == (None, None)


def test_a_trial_that_ran_out_of_memory_is_named_in_the_notes() -> None:
    agenda = Agenda(study(trials=0, search={}, confirm=None), ListedProposer(), {})
    while run := agenda.next():
        agenda.end(Result(run=run.id, valid=10.0, micro_batches=4 if run.trial == "linear" else 1))
    board = make_leaderboard("s", study(confirm=None), agenda, Verdict(0.5), test_set="grammar", seconds=1.0)
    assert board.notes == ("linear ran out of memory and was trained with each batch in 4 parts; the sums are the same.",)


def test_a_run_that_skipped_many_updates_is_named_in_the_notes() -> None:
    agenda = Agenda(study(trials=0, search={}, confirm=None), ListedProposer(), {})
    while run := agenda.next():
        agenda.end(Result(run=run.id, valid=10.0, updates=2000, skipped_updates=300 if run.trial == "linear" else 3))
    board = make_leaderboard("s", study(confirm=None), agenda, Verdict(0.5), test_set="grammar", seconds=1.0)
    assert board.notes == ("linear, seed 1: 300 of 2,000 updates were skipped, because their gradient was not finite.",)


def test_the_interval_is_students_t_interval() -> None:
    assert interval([5.0]) is None
    # By hand: mean 12, standard deviation 1, t(0.975, 2) = 4.30265, half width 4.30265 / √3.
    assert interval([11.0, 12.0, 13.0]) == pytest.approx((12 - 2.48414, 12 + 2.48414), abs=1e-5)


def test_the_interval_does_not_leave_the_range_of_bleu() -> None:
    assert interval([0.0, 1.0, 2.0]) == pytest.approx((0, 1 + 2.48414), abs=1e-5)
    assert interval([98.0, 99.0, 100.0]) == pytest.approx((99 - 2.48414, 100), abs=1e-5)


def test_p_values_of_seeds_are_combined() -> None:
    assert combined_p([0.04]) == 0.04
    assert combined_p([0.01, 0.02, 0.9]) == 0.04
    assert combined_p([0.7, 0.8]) == 1.0


def test_a_baseline_with_the_other_decoder_is_a_reference_and_never_the_winner() -> None:
    baselines = {"transformer": {"objective.schedule": {"kind": "constant", "value": 0.0}}, "linear": {}}
    scores: Scores = {"transformer": [(60.0, 61.0), (60.0, 61.0)], "linear": [(40.0, 41.0), (42.0, 43.0)]}
    board = concluded(
        study(baselines=baselines, search={}, trials=0, confirm={"top": 0, "seeds": [1, 2], "against": "linear"}), scores
    )
    assert [row.name for row in board.rows] == ["transformer", "linear"]
    assert board.winner == "linear"


def test_a_leaderboard_survives_a_json_round_trip() -> None:
    board = concluded(study(trials=2), SCORES)
    assert Leaderboard.model_validate_json(board.model_dump_json()) == board


def test_a_run_survives_a_json_round_trip() -> None:
    run = Agenda(study(), ListedProposer(), {}).next()
    assert run is not None
    assert Run.model_validate_json(run.model_dump_json()) == run
