"""The tables of studies/README.md are those of the stored results."""

import subprocess
import sys
from pathlib import Path

import pytest
from printed_tables import Stored, answers_part, filled, measurement_part, read_folder, study_part
from small_study import SCORES, concluded, study

from mtnat.bench.report import Row
from mtnat.errors import StudyError
from mtnat.formats import STUDY_FORMAT, write_format

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "measurements" / "printed_tables.py"


def test_the_page_is_what_the_stored_results_give() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_each_part_of_a_page_is_replaced() -> None:
    page = "By hand.\n<!-- begin a -->\nold\n<!-- end a -->\nBy hand.\n<!-- begin b-c -->\n<!-- end b-c -->\n"
    written = filled(page, {"a": ["new", "lines"], "b-c": []})
    assert written == page.replace("old", "new\nlines")
    assert filled(written, {"a": ["new", "lines"], "b-c": []}) == written


@pytest.mark.parametrize("parts", [{}, {"a": [], "one-pass": []}])
def test_a_result_without_a_part_or_a_part_without_a_result_is_an_error(parts: dict[str, list[str]]) -> None:
    with pytest.raises(SystemExit, match=r"parts without a result, or results without a part: (a|one-pass)\."):
        filled("<!-- begin a -->\n<!-- end a -->\n", parts)


def test_a_study_is_written_with_its_question_answer_and_rows() -> None:
    board = concluded(study(trials=2), SCORES)
    result = Stored(path="small.yaml", commit="abc", machine="2 cores", columns={"": board})
    assert f"| [small.yaml](small.yaml) | Which? | {board.answer} |" in list(answers_part({"small": result}))
    lines = list(study_part(result))
    assert any(line.startswith("| trial-02 | 23.75 |") for line in lines)
    assert "trial-02 (objective.schedule.kind = power, objective.schedule.exponent = 3)." in lines


def test_a_measurement_is_written_as_its_command_prints_it() -> None:
    rows: list[Row] = [{"seeds": 2, "power": 0.125, "studies": 10}, {"seeds": 3, "power": 0.25, "studies": 10}]
    assert list(measurement_part(rows)) == [
        "In all rows: studies 10.",
        "",
        "| seeds | power |",
        "|---|---:|",
        "| 2 | 12.5% |",
        "| 3 | 25.0% |",
    ]


def test_a_finished_study_is_stored_with_its_columns(tmp_path: Path) -> None:
    board = concluded(study(trials=2), SCORES)
    for column in ("raw", "distilled"):
        folder = tmp_path / "one-pass" / column
        folder.mkdir(parents=True)
        own = board.model_copy(update={"study": f"one-pass/{column}"})
        (folder / "leaderboard.json").write_text(own.model_dump_json())
    stored = read_folder(tmp_path / "one-pass", "2 cores")
    assert (stored.path, set(stored.columns)) == ("one-pass.yaml", {"raw", "distilled"})
    write_format(tmp_path / "one-pass", STUDY_FORMAT)
    assert read_folder(tmp_path / "one-pass", "2 cores") == stored


@pytest.mark.parametrize("place", ["", "raw"])
def test_a_study_of_a_newer_format_is_not_stored(tmp_path: Path, place: str) -> None:
    study = tmp_path / "one-pass"
    (study / "raw").mkdir(parents=True)
    (study / "raw" / "leaderboard.json").write_text('{"rows": "of a newer kind"}')
    (study / place / "format.json").write_text('{"format": 2, "mtnat": "0.9.0"}')
    done = subprocess.run([sys.executable, str(SCRIPT), "--store", str(study)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    told = "has format 2, and this version of mtnat reads format 1; install mtnat 0.9.0 or newer."
    assert done.stderr == f"{study / place}: {told}\n"


def test_a_leaderboard_of_another_version_is_not_stored(tmp_path: Path) -> None:
    study = tmp_path / "one-pass"
    study.mkdir()
    (study / "leaderboard.json").write_text('{"rows": 1}')
    with pytest.raises(StudyError, match=r"leaderboard\.json: is damaged or of another version of mtnat"):
        read_folder(study, "2 cores")
