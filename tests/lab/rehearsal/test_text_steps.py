"""The steps in which a study's models write training text, as a dry run shows them."""

from typing import Any

from small_study import study

from mtnat.lab.rehearsal.text_steps import stage_facts, text_facts, text_reservations, text_steps
from mtnat.lab.study.record import Study

AT = {"objective.schedule": {"kind": "constant", "value": 0.0}}


def written(**parts: Any) -> Study:
    return study(baselines={"linear": {}}, search={}, trials=0, confirm=None, **parts)


def steps(a_study: Study) -> list[tuple[str, str | None, float]]:
    return [(step.name, step.trial.name if step.trial else None, step.share) for step in text_steps(a_study)]


def test_rejuvenation_trains_two_models_and_rewrites_a_share_of_the_text() -> None:
    a_study = written(rejuvenation={"settings": AT, "inactive": 0.2})
    assert steps(a_study) == [
        ("identification", "identification", 1.0),
        ("rejuvenation", "rejuvenation", 1.0),
        ("inactive pairs are rewritten", None, 0.2),
    ]
    (*_, rewriting) = text_steps(a_study)
    assert (rewriting.experiment.decoding.beam, rewriting.experiment.decoding.length_penalty) == (4, 0.6)
    (fact,) = text_facts(a_study)
    assert fact.startswith("rejuvenation  trained here; scores all training pairs.")
    assert fact.endswith("the lowest 20 % with beam 4")
    assert list(text_reservations(a_study)) == [
        "The scores of the training pairs are not included; they take less time than an epoch of training."
    ]


def test_a_teacher_that_identifies_is_shown_once() -> None:
    a_study = written(teacher={"settings": AT}, rejuvenation={})
    assert [name for name, _, _ in steps(a_study)] == [
        "teacher",
        "the teacher translates",
        "rejuvenation",
        "inactive pairs are rewritten",
    ]
    teacher, rejuvenation = text_facts(a_study)
    assert teacher == "teacher       trained here; translates with beam 5"
    assert rejuvenation.startswith("rejuvenation  the teacher; scores all training pairs.")


def test_facts_are_those_of_the_first_column_that_has_such_models() -> None:
    columns = {"raw": {"data.rejuvenated": None}, "rejuvenated": {}}
    a_study = written(rejuvenation={"settings": AT}, columns=columns)
    assert steps(a_study.parts["raw"]) == []
    assert len(list(text_facts(a_study))) == 1


def test_a_study_without_such_models_has_no_such_steps() -> None:
    assert steps(written()) == []
    assert list(text_facts(written())) == []


def test_a_reverse_teacher_is_trained_in_the_opposite_direction_and_stages_are_shown_with_their_ends() -> None:
    stages = [{"text": "raw", "share": 2}, {"text": "bidirectional", "share": 2}, {"text": "distilled", "share": 6}]
    a_study = study(
        baselines={"plain": {}, "lexical frequency": {"data.stages": stages}},
        search={},
        trials=0,
        confirm=None,
        teacher={"settings": AT},
        reverse_teacher={},
    )
    assert [name for name, _, _ in steps(a_study)] == [
        "teacher",
        "the teacher translates",
        "reverse teacher",
        "the reverse teacher translates",
    ]
    (*_, reverse, _) = text_steps(a_study)
    assert reverse.experiment.data.corpus == "grammar-de-en"
    assert list(text_facts(a_study))[1] == "reverse       trained here; translates the targets with beam 5"
    assert list(stage_facts(a_study)) == [
        "stages        lexical frequency: raw until step 4, bidirectional until step 8, distilled until step 20"
    ]
    assert list(stage_facts(written())) == []
