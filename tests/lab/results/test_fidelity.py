"""How well less training ranks trials, on numbers made by hand."""

import json
from pathlib import Path

import pytest
from small_study import EXPONENT, power, study

from mtnat.lab.outputs.folder import StudyFolder
from mtnat.lab.outputs.runs import Result
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.plan.listed_proposer import ListedProposer
from mtnat.lab.report.markdown import fidelity_section
from mtnat.lab.results.fidelity import Fidelity, Kind, Scores, rate, sentences
from mtnat.lab.results.fidelity_scores import read_fidelity

FULL = {"a": 10.0, "b": 20.0, "c": 30.0, "d": 40.0, "e": 50.0}


def rated(**scores: list[float]) -> Fidelity:
    """Signals at step 100 of 900; of the two kinds by their first word."""
    kinds: dict[str, Kind] = {"way": "in flight", "shorter": "horizon"}
    signals: dict[tuple[Kind, int], Scores] = {
        (kinds[name], 100): dict(zip(FULL, values, strict=True)) for name, values in scores.items()
    }
    found = rate(FULL, signals, steps=900)
    assert found
    return found


def test_a_signal_in_the_order_of_the_full_scores_has_tau_1_and_no_regret() -> None:
    (signal,) = rated(shorter=[1.0, 2.0, 3.0, 4.0, 9.0]).signals
    assert signal.tau == pytest.approx(1.0)
    assert signal.interval == pytest.approx((1.0, 1.0))
    assert signal.share == pytest.approx(1 / 9)
    assert signal.p_value == pytest.approx(2 / 120)  # exact: 2 of the 5! orders are as far from chance
    assert (signal.choice, signal.regret, signal.place_of_best) == (("e",), 0.0, 1)


def test_a_signal_in_reversed_order_has_tau_minus_1_and_chooses_the_worst_trial() -> None:
    (signal,) = rated(way=[5.0, 4.0, 3.0, 2.0, 1.0]).signals
    assert signal.tau == pytest.approx(-1.0)
    assert (signal.choice, signal.regret, signal.place_of_best) == (("a",), 40.0, 5)


def test_the_tau_of_a_signal_with_ties_is_tau_b() -> None:
    (signal,) = rated(way=[1.0, 1.0, 2.0, 3.0, 3.0]).signals
    # τ-b by hand: 8 of 10 pairs are ordered alike, 2 are ties: 8 / √(8 · 10).
    assert signal.tau == pytest.approx(8 / 80**0.5)
    assert (signal.choice, signal.regret, signal.place_of_best) == (("d", "e"), 5.0, 2)


def test_a_constant_signal_has_no_tau() -> None:
    found = rated(way=[1.0] * 5, shorter=[1.0, 2.0, 3.0, 4.0, 5.0])
    signal = found.signals[0]
    assert (signal.tau, signal.p_value, signal.interval) == (None, None, None)
    assert signal.regret == 20.0  # the mean over five equal trials
    assert found.contrasts == ()
    assert "| in flight | 100 | 11% |  |" in "\n".join(fidelity_section(found))


def test_in_flight_and_horizon_signals_are_contrasted_at_equal_cost() -> None:
    found = rated(way=[5.0, 4.0, 3.0, 2.0, 1.0], shorter=[1.0, 2.0, 3.0, 4.0, 5.0])
    (contrast,) = found.contrasts
    assert (contrast.horizon, contrast.in_flight) == (100, 100)
    assert contrast.difference == pytest.approx(2.0)
    assert contrast.interval == pytest.approx((2.0, 2.0))
    assert "the shorter complete runs rank better" in sentences(found)[0]
    level = rated(way=[1.0, 2.0, 3.0, 5.0, 4.0], shorter=[2.0, 1.0, 3.0, 4.0, 5.0])
    assert level.contrasts[0].difference == pytest.approx(0.0)
    assert "do not show which ranks better" in sentences(level)[0]


def test_fidelity_is_rated_on_at_least_four_trials_that_have_every_signal() -> None:
    shorter: Scores = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    way: Scores = {**shorter, "e": 0.0}
    found = rate(FULL, {("in flight", 100): way, ("horizon", 100): shorter}, steps=900, survivors_only=True)
    assert found
    assert [signal.scores.keys() for signal in found.signals] == [shorter.keys(), shorter.keys()]
    assert found.signals[0].tau == pytest.approx(1.0)  # without e, which has no horizon score
    assert "the others are not considered" in sentences(found)[-1]
    assert rate(FULL, {("horizon", 100): {"a": 1.0, "b": 2.0, "c": 3.0}}, steps=900) is None


def test_the_fidelity_of_a_horizon_study_is_read_from_its_folder(tmp_path: Path) -> None:
    a_study = study(trials=4, confirm=None, horizon={"steps": [10, 20], "keep": 1.0})
    agenda = Agenda(a_study, ListedProposer(*map(power, (2.0, 3.0, 4.0, 5.0))), {})
    folder = StudyFolder(tmp_path)
    while run := agenda.next():
        exponent = agenda.trials[run.trial].settings.get(EXPONENT, 1.0)
        agenda.end(Result(run=run.id, valid=exponent if run.rung is None else 10.0 - exponent))
        folder.run(run.id).mkdir(parents=True)
        points = [{"step": 4, "metrics": {"valid/bleu": 9.0}}, {"step": 8, "metrics": {"valid/bleu": 6.0}}]
        # The step was repeated after a kill.
        points += [{"step": 8, "metrics": {"valid/bleu": 5.0}}, {"step": 8, "metrics": {"train/loss": 1.0}}]
        points += [{"step": 12, "metrics": {"valid/bleu": 8.0}}]
        lines = [json.dumps(point) for point in points]
        (folder.run(run.id) / "curves.jsonl").write_text("\n".join([*lines, '{"step": 13, "metr']))
    found = read_fidelity(a_study, agenda, folder)
    assert found
    assert found.full == {f"trial-0{number}": number + 1.0 for number in (1, 2, 3, 4)}  # baselines have one T only
    way, shorter_runs = found.signals
    assert (way.kind, way.steps, set(way.scores.values())) == ("in flight", 8, {5.0})
    assert (shorter_runs.kind, shorter_runs.steps) == ("horizon", 10)
    assert shorter_runs.tau == pytest.approx(-1.0)
    assert not found.survivors_only
    assert read_fidelity(study(), agenda, folder) is None
