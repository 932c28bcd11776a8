"""The teacher is a baseline with the same experiment, or a trial of its own."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from small_study import study

from mtnat.evaluation.modality import Modality
from mtnat.lab.driver.teacher import DistilledText, keep_teacher, teacher_trial
from mtnat.lab.driver.text_models import TextModel
from mtnat.lab.driver.text_writer import students
from mtnat.lab.outputs.folder import StudyFolder
from mtnat.lab.study.record import Study, Teacher

AT = {"objective.schedule": {"kind": "constant", "value": 0.0}}


def taught(settings: dict[str, Any], **baselines: dict[str, Any]) -> tuple[Study, Teacher]:
    teacher = Teacher(settings=settings)
    confirm = {"top": 0, "seeds": [1], "against": next(iter(baselines))}
    return study(baselines=baselines, search={}, trials=0, confirm=confirm, teacher=teacher.model_dump()), teacher


def test_a_baseline_equal_to_the_teacher_serves_as_the_teacher() -> None:
    trial = teacher_trial(*taught(AT, linear={}, transformer={**AT, "data.distilled": None}))
    assert (trial.name, trial.experiment.decoder) == ("transformer", "at")


def test_a_baseline_that_trains_on_distilled_text_does_not_serve_as_the_teacher() -> None:
    assert teacher_trial(*taught(AT, transformer=AT)).name == "teacher"


def test_a_multi_task_teacher_is_validated_with_its_at_decoder() -> None:
    trial = teacher_trial(*taught({}, linear={"data.distilled": None}))
    assert (trial.name, trial.experiment.decoder) == ("teacher", "at")
    assert trial.experiment.branches == ("at", "nat")
    assert trial.settings == {"decoding.decoder": "at"}  # the trial is trained by its settings, so they include the decoder


def test_a_column_that_is_not_distilled_has_no_teacher() -> None:
    whole, teacher = taught(AT, linear={})
    parts = whole.model_copy(update={"columns": {"raw": {"data.distilled": None}, "distilled": {}}}).parts
    assert (parts["raw"].teacher, parts["distilled"].teacher) == (None, teacher)
    assert parts["raw"].experiment == parts["distilled"].experiment


def test_students_train_on_the_distilled_text_and_its_statistics_are_summarised() -> None:
    a_study, _ = taught(AT, linear={})
    raw = Modality(
        conditional_entropy=2.0,
        weighted_entropy=1.5,
        length_ratio=1.0,
        length_deviation=0.1,
        pairs=7,
        source_words=70,
        target_words=70,
        vocabulary=9,
    )
    text = DistilledText(
        teacher="teacher-seed1",
        valid=31.0,
        key="k",
        targets="/there/distilled.gz",
        lines=7,
        raw=raw,
        distilled=dataclasses.replace(raw, conditional_entropy=1.25),
    )
    assert students(a_study, text).experiment.data.distilled == "/there/distilled.gz"
    assert "teacher-seed1 (valid BLEU 31.00) made of 7 training sources" in text.summary
    assert "conditional entropy of a target word 2.000 → 1.250" in text.summary
    assert text.figures["distillation/raw_conditional_entropy"] == pytest.approx(2.0)
    assert text.figures["distillation/distilled_conditional_entropy"] == pytest.approx(1.25)


def test_the_folder_of_a_study_names_the_model_of_its_teacher(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "study")
    assert folder.teacher_model() is None
    folder.path.mkdir()
    keep_teacher(TextModel("teacher-seed1", tmp_path / "study" / "runs" / "teacher-seed1" / "model", valid=31.0), folder)
    assert folder.teacher_model() == tmp_path / "study" / "runs" / "teacher-seed1" / "model"
