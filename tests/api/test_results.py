"""The results of a study as data frames."""

from pathlib import Path

import pandas
import pytest
from small_study import SCORES, concluded, study

import mtnat
from mtnat.config import replace, write_yaml
from mtnat.data import prepare
from mtnat.errors import StudyError
from mtnat.lab.outputs.curves import append_point, write_point
from mtnat.lab.outputs.folder import HYPOTHESES_FILE, StudyFolder, write_result
from mtnat.lab.outputs.runs import Result
from mtnat.lab.study.record import Study
from mtnat.training.model import EXPERIMENT


def begun(path: Path, a_study: Study) -> StudyFolder:
    folder = StudyFolder(path)
    folder.path.mkdir(parents=True)
    folder.begin(a_study, resume=False)
    return folder


def add_run(folder: StudyFolder, a_study: Study, name: str, run: str, seed: int, *, has_ended: bool = True) -> Path:
    """Writes the folder of a run with two points; its translations of the test set are the references."""
    experiment = replace(a_study.experiment, {**a_study.baselines.get(name, {}), "seed": seed})
    path = folder.run(run)
    path.mkdir(parents=True)
    (path / EXPERIMENT).write_text(write_yaml(experiment))
    append_point(path, write_point(10, {"train/loss": 3.0, "valid/bleu": 5.0 + seed}))
    append_point(path, write_point(20, {"train/loss": 2.0, "valid/bleu": 6.0 + seed}))
    if has_ended:
        write_result(path, Result(run=run, valid=6.0 + seed, test=7.0 + seed, seconds=10.0, parameters=1000))
        references = prepare(experiment.data).test.references
        (path / HYPOTHESES_FILE).write_text("".join(f"{line}\n" for line in references))
    return path


@pytest.fixture
def small() -> Study:
    a_study = study(trials=2)
    data = a_study.experiment.data.model_copy(update={"corpus_size": 100, "vocabulary_size": 200})
    return a_study.model_copy(update={"experiment": a_study.experiment.model_copy(update={"data": data})})


@pytest.fixture
def folder(tmp_path: Path, small: Study) -> Path:
    """A finished study whose second baseline has a run in progress."""
    found = begun(tmp_path / "small", small)
    for seed in (1, 2):
        add_run(found, small, "Fixed λ", f"fixed-λ-seed{seed}", seed)
    add_run(found, small, "linear", "linear-seed1", 1, has_ended=False)
    found.leaderboard.write_text(concluded(study(trials=2), SCORES).model_dump_json())
    return found.path


def test_the_scores_are_the_rows_of_the_leaderboard(folder: Path) -> None:
    results = mtnat.open_study(folder)
    board = concluded(study(trials=2), SCORES)
    assert results.is_finished
    assert results.answers == {"": board.answer}
    scores = results.scores().set_index("trial")
    assert list(scores.index) == [row.name for row in board.rows]
    assert list(scores.index[scores["is_winner"]]) == [board.winner]
    assert scores.loc["linear", ["bleu", "text"]].to_list() == [25.0, "raw"]
    assert scores.loc["Fixed λ", "difference"] == -3.5
    assert pandas.isna(scores.loc["trial-01", "difference"])


def test_the_runs_have_their_scores_and_the_settings_in_which_they_differ(folder: Path, small: Study) -> None:
    add_run(StudyFolder(folder), small, "linear", "linear-seed2", 2)
    runs = mtnat.open_study(folder).runs()
    assert list(zip(runs["trial"], runs["kind"], runs["seed"], strict=True)) == [
        ("Fixed λ", "baseline", 1),
        ("Fixed λ", "baseline", 2),
        ("linear", "baseline", 2),
    ]
    assert list(runs["valid_bleu"]) == [7.0, 8.0, 8.0]
    assert list(runs["test_bleu"]) == [8.0, 9.0, 9.0]
    assert list(runs["objective.schedule.kind"]) == ["constant", "constant", "linear"]
    assert "model.width" not in runs


def test_the_curves_include_runs_in_progress(folder: Path) -> None:
    results = mtnat.open_study(folder)
    curves = results.curves(["valid/bleu"])
    assert set(curves["metric"]) == {"valid/bleu"}
    assert list(curves[curves["trial"] == "linear"]["value"]) == [6.0, 7.0]
    assert set(results.curves()["metric"]) == {"train/loss", "valid/bleu"}


def test_the_translations_stand_beside_their_sources_and_references(folder: Path, small: Study) -> None:
    translations = mtnat.open_study(folder).translations()
    test = prepare(small.experiment.data).test
    assert len(translations) == 2 * len(test.sources)
    first = translations.iloc[0]
    assert (first["seed"], first["sentence"], first["source"]) == (1, 1, test.sources[0])
    assert (translations["translation"] == translations["reference"]).all()


def test_a_study_that_has_just_begun_has_empty_frames_with_columns(tmp_path: Path, small: Study) -> None:
    results = mtnat.open_study(begun(tmp_path / "new", small).path)
    assert not results.is_finished
    assert results.answers == {}
    for frame in (results.scores(), results.runs(), results.curves(), results.translations()):
        assert frame.empty
        assert "trial" in frame


def test_the_frames_of_a_study_with_columns_name_the_column(tmp_path: Path, small: Study) -> None:
    columns = {"raw": {}, "small": {"model.width": 64}}
    table = small.model_copy(update={"columns": columns})
    whole = begun(tmp_path / "table", table)
    board = concluded(study(trials=2), SCORES)
    for name, part in table.parts.items():
        column = begun(whole.column(name).path, part)
        add_run(column, part, "linear", "linear-seed1", 1)
        column.leaderboard.write_text(board.model_dump_json())
    results = mtnat.open_study(whole.path)
    assert results.is_finished
    assert set(results.answers) == set(columns)
    assert list(results.runs()["column"]) == ["raw", "small"]
    assert list(results.runs()["model.width"]) == [512, 64]
    assert set(results.scores()["column"]) == set(columns)
    assert set(results.curves()["column"]) == set(columns)


def test_a_folder_that_is_not_a_studys_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"is not a study's folder, study\.yaml is missing"):
        mtnat.open_study(tmp_path)
