"""The tables of studies/README.md are those of the stored results."""

import subprocess
import sys
from pathlib import Path

import pytest
from small_study import SCORES, concluded, study
from study_tables import Stored, filled, read_folder

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "measurements" / "study_tables.py"


def test_the_page_is_what_the_stored_results_give() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_each_part_of_a_page_is_written_from_the_result_of_its_study() -> None:
    board = concluded(study(trials=2), SCORES)
    result = Stored(path="small.yaml", commit="abc", machine="2 cores", columns={"": board})
    page = "By hand.\n<!-- begin answers -->\nold\n<!-- end answers -->\nBy hand.\n<!-- begin small -->\n<!-- end small -->\n"
    written = filled(page, {"small": result})
    assert "old" not in written
    assert written.count("By hand.\n") == 2
    assert f"| [small.yaml](small.yaml) | Which? | {board.answer} |" in written
    assert "| trial-02 | 23.75 |" in written
    assert "trial-02 (objective.schedule.kind = power, objective.schedule.exponent = 3)." in written
    assert filled(written, {"small": result}) == written


def test_a_result_without_a_part_is_an_error() -> None:
    result = Stored(path="one-pass.yaml", commit="abc", machine="2 cores", columns={})
    with pytest.raises(SystemExit, match="one-pass"):
        filled("<!-- begin answers -->\n<!-- end answers -->\n", {"one-pass": result})


def test_a_finished_study_is_stored_with_its_columns(tmp_path: Path) -> None:
    board = concluded(study(trials=2), SCORES)
    for column in ("raw", "distilled"):
        folder = tmp_path / "one-pass" / column
        folder.mkdir(parents=True)
        own = board.model_copy(update={"study": f"one-pass/{column}"})
        (folder / "leaderboard.json").write_text(own.model_dump_json())
    stored = read_folder(tmp_path / "one-pass", "2 cores")
    assert (stored.path, set(stored.columns)) == ("one-pass.yaml", {"raw", "distilled"})
