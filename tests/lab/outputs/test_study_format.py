"""The format of a study's folder: written when the study begins, and checked before anything is changed."""

import json
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from small_study import SCORES, concluded, study

from mtnat.config import write_yaml
from mtnat.errors import NoAnswerError, ResourceError, StudyError
from mtnat.formats import FORMAT_FILE, STUDY_FORMAT
from mtnat.lab.cluster.interruption import Interruption
from mtnat.lab.outputs.folder import StudyFolder, read_record, write_result
from mtnat.lab.outputs.runs import Result
from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.start import run_study
from mtnat.lab.study.options import Options

ROOT = Path(__file__).parents[3]
SMALL = study(
    experiment={
        "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300},
        "training": {"steps": 4, "warmup_steps": 1},
    },
    search={},
    trials=0,
    confirm=None,
)
NEWER = '{"format": 2, "mtnat": "0.9.0"}'
REFUSED = "has format 2, and this version of mtnat reads format 1; install mtnat 0.9.0 or newer."


def finished(folder: Path) -> Options:
    """Writes a study file and the folder of the finished study, and returns the options that resume it."""
    file, outputs = folder / "small.yaml", StudyFolder(folder / "outputs" / "small")
    file.write_text(write_yaml(SMALL))
    outputs.begin(SMALL, resume=False)
    outputs.leaderboard.write_text(concluded(study(trials=2), SCORES).model_dump_json())
    return Options(study=file, outputs=folder / "outputs", resume=True)


def files(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_a_study_that_begins_or_is_resumed_has_the_format_of_this_version(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "s")
    folder.begin(SMALL, resume=False)
    assert json.loads((folder.path / FORMAT_FILE).read_text())["format"] == STUDY_FORMAT
    (folder.path / FORMAT_FILE).unlink()
    assert folder.read_study() == SMALL
    folder.begin(SMALL, resume=True)
    assert json.loads((folder.path / FORMAT_FILE).read_text())["format"] == STUDY_FORMAT


def test_a_cleared_folder_has_no_format(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "s")
    with folder.held():
        folder.clear_smoke()
        folder.begin(SMALL, resume=False)
        (folder.path / FORMAT_FILE).write_text(NEWER)
        folder.clear_smoke()
        folder.begin(SMALL, resume=False)
    folder.check_format()


def test_nothing_reads_a_folder_of_a_newer_format(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "s")
    folder.begin(SMALL, resume=False)
    write_result(folder.run("linear-seed1"), Result(run="linear-seed1", valid=20.0))
    (folder.path / FORMAT_FILE).write_text(NEWER)
    before = files(folder.path)
    for read in (folder.read_study, folder.results, lambda: folder.begin(SMALL, resume=True)):
        with pytest.raises(StudyError) as raised:
            read()
        assert raised.value.problems == (f"{folder.path}: {REFUSED}",)
    assert files(folder.path) == before


def test_a_study_of_a_newer_format_is_refused_with_exit_code_2_and_stays_as_it_is(tmp_path: Path) -> None:
    options = finished(tmp_path)
    folder = tmp_path / "outputs" / "small"
    (folder / FORMAT_FILE).write_text(NEWER)
    before = files(tmp_path)
    command = [sys.executable, str(ROOT / "tune.py"), str(options.study), "--outputs", str(options.outputs), "--resume"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{folder}: {REFUSED}\n")
    with pytest.raises(StudyError, match="has format 2"):
        run_study(replace(options, resume=False), Console(), Interruption())
    assert files(tmp_path) == before


def test_a_study_of_version_0_1_0_is_read() -> None:
    """It has no format. `study_0_1_0` was written by that version."""
    folder = StudyFolder(Path(__file__).parent / "study_0_1_0")
    assert folder.read_study().question == "Which?"
    assert [result.valid for result in folder.results().values()] == [3.0]
    assert read_record(Leaderboard, folder.leaderboard).winner == "trial-02"


def test_a_finished_study_without_a_format_is_shown_again(tmp_path: Path) -> None:
    options = finished(tmp_path)
    (tmp_path / "outputs" / "small" / FORMAT_FILE).unlink()
    console = Console(file=StringIO(), width=140)
    run_study(options, console, Interruption())
    assert isinstance(console.file, StringIO)
    assert "trial-02" in console.file.getvalue()


def test_a_leaderboard_of_another_version_is_reported_in_one_sentence(tmp_path: Path) -> None:
    options = finished(tmp_path)
    leaderboard = tmp_path / "outputs" / "small" / "leaderboard.json"
    leaderboard.write_text('{"rows": []}')
    with pytest.raises(StudyError) as raised:
        run_study(options, Console(), Interruption())
    (problem,) = raised.value.problems
    assert problem.startswith(f"{leaderboard}: is damaged or of another version of mtnat (")
    assert "\n" not in problem
    with pytest.raises(StudyError, match=r"missing\.json: cannot be read"):
        read_record(Leaderboard, tmp_path / "missing.json")


def test_a_finished_study_whose_runs_all_failed_is_shown_and_is_no_success(tmp_path: Path) -> None:
    options, said = finished(tmp_path), StringIO()
    failed = concluded(study(trials=2), {name: [(None, None), (None, None)] for name in SCORES})
    (tmp_path / "outputs" / "small" / "leaderboard.json").write_text(failed.model_dump_json())
    with pytest.raises(NoAnswerError, match=r"small: no run ended well, so there is no answer; .*leaderboard\.md has"):
        run_study(options, Console(file=said, width=140), Interruption())
    assert "failed       linear: it diverged" in said.getvalue()


def test_a_question_may_contain_what_the_terminal_takes_for_markup(tmp_path: Path) -> None:
    options, said = finished(tmp_path), StringIO()
    question = "Is [red]this[/x] [/red] :warning: a question?"
    board = concluded(study(trials=2, question=question), SCORES)
    (tmp_path / "outputs" / "small" / "leaderboard.json").write_text(board.model_dump_json())
    run_study(options, Console(file=said, width=140), Interruption())
    assert question in said.getvalue()


def test_a_study_whose_tracking_server_does_not_answer_is_not_begun(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(write_yaml(SMALL))
    options = Options(study=tmp_path / "small.yaml", outputs=tmp_path / "outputs", tracking_uri="http://127.0.0.1:9")
    for _ in range(2):  # without --resume, which a study that was begun needs
        with pytest.raises(ResourceError, match=r"no server answers"):
            run_study(options, Console(file=StringIO(), width=140), Interruption())


def test_a_finished_study_is_shown_without_its_tracking_server(tmp_path: Path) -> None:
    options, said = finished(tmp_path), StringIO()
    run_study(replace(options, tracking_uri="http://127.0.0.1:9"), Console(file=said, width=140), Interruption())
    assert "compare      http://127.0.0.1:9" in said.getvalue()
