"""The analysis of encoders, from curves written by hand."""

from pathlib import Path

import pytest
from small_study import study

from mtnat.lab.outputs.analysis_curves import MEASURES, probing_name, similarity_name
from mtnat.lab.outputs.curves import append_point, write_point
from mtnat.lab.outputs.folder import StudyFolder
from mtnat.lab.outputs.probed import ProbedTask, write_probed
from mtnat.lab.outputs.runs import Result, Run
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.plan.listed_proposer import ListedProposer
from mtnat.lab.report.analysis import analysis_section
from mtnat.lab.report.analysis_plots import draw_probing, draw_similarity
from mtnat.lab.results.analysis import EncoderAnalysis, read_analysis

ACCURACIES = {"linear": (0.50, 0.52, 0.51), "fixed-λ": (0.70, 0.71, 0.72)}
"""Accuracy of the final encoders by the name of the trial's folder and by seed."""
CURVE = {0: 0.9, 5: 0.5, 10: 0.6}
"""Similarity by step, for seed 1; that of each further seed is lower by 0.1."""


def curves(folder: StudyFolder, run: Run) -> None:
    """Writes the curves of a run that was analysed, as the run itself would."""
    seed = run.experiment.seed
    place = folder.run(run.id)
    place.mkdir(parents=True, exist_ok=True)
    assert run.analysis
    for other in run.analysis.others:
        # Seed 3 lacks a step, as if its file had been removed.
        steps = [step for step in CURVE if not (seed == 3 and step == 5)]
        for step in steps:
            values = {similarity_name(other, measure, is_final=False): CURVE[step] - 0.1 * (seed - 1) for measure in MEASURES}
            append_point(place, write_point(step, values))
        final = {similarity_name(other, measure, is_final=True): 0.1 * seed for measure in MEASURES}
        append_point(place, write_point(20, final))
    append_point(place, write_point(0, {probing_name("tense", is_final=False): 0.5}))
    accuracy = ACCURACIES[run.id.rpartition("-seed")[0]][seed - 1]
    task = ProbedTask(
        task="tense",
        sentences=1000,
        classes=2,
        updates=56,
        untrained=(0.5,) * 10,
        final=(accuracy,) * 10,
        majority=(0.45,) * 10 if run.analysis.has_context else None,
        bag_of_words=(0.8,) * 10 if run.analysis.has_context else None,
    )
    write_probed(place, (task,))


def analysed(folder: Path, seeds: list[int]) -> EncoderAnalysis:
    confirm = {"top": 0, "seeds": seeds, "against": "linear"}
    analysis = {"every": 5, "similarity": {"against": ["linear"]}, "probing": {}}
    a_study = study(confirm=confirm, search={}, trials=0, analysis=analysis)
    agenda = Agenda(a_study, ListedProposer(), {})
    place = StudyFolder(folder)
    while run := agenda.next():
        if run.phase == "analysis":
            curves(place, run)
        test = None if run.phase == "search" else 20.0
        agenda.end(Result(run=run.id, valid=20.0, test=test, is_analysed=run.phase == "analysis"))
    found = read_analysis(a_study, agenda, place)
    assert found
    return found


def test_similarities_are_by_step_and_seed_at_the_steps_that_all_seeds_have(tmp_path: Path) -> None:
    found = analysed(tmp_path, [1, 2, 3])
    assert [(each.trial, each.against) for each in found.similarities] == [
        ("Fixed λ", "linear"),
        ("Fixed λ", "Fixed λ"),
        ("linear", "linear"),
    ]
    one = found.similarities[0]
    assert (one.seeds, one.steps) == ((1, 2, 3), (0, 10))
    before, after = one.over_training["cka"]
    assert before == pytest.approx((0.9, 0.8, 0.7))
    assert after == pytest.approx((0.6, 0.5, 0.4))
    assert one.final["pwcca"] == pytest.approx((0.1, 0.2, 0.3))


def test_accuracies_are_compared_with_the_baseline_over_seeds(tmp_path: Path) -> None:
    (row,) = analysed(tmp_path, [1, 2, 3]).tasks
    assert (row.task, row.sentences, row.classes, row.updates) == ("tense", 1000, 2, 56)
    assert (row.majority, row.bag_of_words) == ((0.45,) * 10, (0.8,) * 10)
    fixed, linear = row.trials
    assert (fixed.seeds, fixed.final[1], fixed.untrained) == ((1, 2, 3), (0.71,) * 10, ((0.5,) * 10,) * 3)
    assert fixed.difference == pytest.approx(0.2)
    # All folds are equal, so the test is Welch's: t = 0.2 / √(2 · 0.01² / 3) = 24.49, two-sided with 4 degrees of freedom.
    assert fixed.p_value_adjusted == pytest.approx(1.65e-5, rel=0.01)
    assert (fixed.mark, linear.mark, linear.p_value_adjusted) == ("⇑", "", None)


def test_what_training_adds_is_tested_over_seeds(tmp_path: Path) -> None:
    gains = analysed(tmp_path, [1, 2, 3]).gains()
    # t = 0.01 / √(0.01² / 3) = 1.73 with 2 degrees of freedom for linear, which has 50, 51 and 52 % after the training.
    assert gains == {"Fixed λ": (["tense"], [], 2), "linear": ([], ["tense"], 2)}


def test_one_seed_gives_no_mark(tmp_path: Path) -> None:
    (row,) = analysed(tmp_path, [1]).tasks
    assert [(each.p_value_adjusted, each.mark) for each in row.trials] == [(None, "")] * 2
    assert row.trials[0].difference == pytest.approx(0.2)


def test_the_report_has_both_tables_with_their_notes(tmp_path: Path) -> None:
    text = "\n".join(analysis_section(analysed(tmp_path, [1, 2, 3])))
    assert "| Fixed λ | its own other seeds | 0.200 ± 0.100 |" in text
    assert "| tense | 2 | 45.0 | 80.0 | 50.0 ± 0.0 | 71.0 ± 1.0⇑ | 51.0 ± 1.0 |" in text
    assert "adjusted for 1 comparison, Holm 1979" in text
    told = "Above the untrained encoders at p < 0.05 (adjusted for 2 comparisons): "
    assert f"{told}Fixed λ in 1 of 1 tasks; linear in 0 of 1 tasks." in text
    assert "No cell has a mark" in "\n".join(analysis_section(analysed(tmp_path / "one", [1])))


def test_the_plots_are_drawn(tmp_path: Path) -> None:
    found = analysed(tmp_path, [1, 2, 3])
    for draw in (draw_similarity, draw_probing):
        draw(found, tmp_path / "plot.png")
        assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
