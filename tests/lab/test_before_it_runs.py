"""`--dry-run` and `--smoke` on the command line."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from test_whole_study import ROOT, Desk

from mtnat.config import read_yaml, to_yaml

pytestmark = [pytest.mark.slow, pytest.mark.ray]
AT = {"objective.schedule": {"kind": "constant", "value": 0.0}}
KIND = "objective.schedule.kind"
TURNED = {f"data.{split}": [f"{split}.de", f"{split}.en"] for split in ("train", "valid", "test")}
TAUGHT = {
    "columns": {"en-de": {}, "de-en": TURNED},
    "teacher": {"settings": AT, "beam": 3},
    "baselines": {"transformer": {**AT, "data.distilled": None}, "linear": {}},
    "search": {KIND: {"choice": ["power", "cosine"]}, "training.steps": {"int": [20_000, 40_000]}},
    "trials": 5,
    "confirm": {"top": 3, "seeds": [2, 3], "against": "linear"},
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def things(desk: Desk) -> set[str]:
    """All names in the folder except the cache."""
    return {path.name for path in desk.folder.iterdir()} - {"cache"}


def test_a_dry_run_shows_the_whole_plan_and_writes_nothing(desk: Desk) -> None:
    desk.write("taught", steps=20_000, **TAUGHT)
    before = things(desk)
    code, out, errors = desk.run("taught.yaml", "--dry-run")
    assert (code, errors) == (0, "")
    assert things(desk) == before
    words = ("transformer", "linear", "trial-01", "trial-02", "en-de, de-en", "translates with beam 3", "An estimate")
    assert [word for word in words if word not in out] == []
    runs = {name: int(number) for name, number in re.findall(r"^(\w[\w ]*?) +(\d+)", out, re.MULTILINE)}
    # A column: the teacher, a baseline; another one; 5 proposals; 2 seeds of 2 baselines and 3 proposals.
    assert (runs["teacher"], runs["baselines"], runs["proposals"], runs["confirm"]) == (2, 2, 10, 20)
    assert runs["in all"] == 34


def test_a_dry_run_reports_the_problems_of_the_study_file(desk: Desk) -> None:
    desk.write("wrong", baselines={"one": {"model.widht": 3}}, resources={"workers": 10_000})
    code, out, errors = desk.run("wrong.yaml", "--dry-run")
    assert (code, out) == (2, "")
    assert "did you mean" in errors
    assert "10000" in errors


def test_a_smoke_run_of_a_long_study_covers_column_teacher_and_search(desk: Desk) -> None:
    short = {
        "columns": {"en-de": {}},
        "baselines": {"linear": {}},
        "trials": 1,
        "confirm": {"top": 0, "seeds": [1], "against": "linear"},
    }
    desk.write("taught", steps=20_000, **TAUGHT | short)
    stale = desk.folder / "outputs" / "taught-smoke" / "stale"
    stale.mkdir(parents=True)
    (stale.parent / "smoke").touch()  # of an earlier smoke run
    code, out, errors = desk.run("taught.yaml", "--smoke")
    assert (code, errors) == (0, "")
    assert re.search(r"smoke: the whole study ran in \d+ s; its scores mean nothing", out)
    assert not stale.exists()
    assert {path.name for path in (desk.folder / "outputs").iterdir()} == {"taught-smoke"}  # the study itself has not begun
    assert (stale.parent / "table.md").exists()
    client = MlflowClient(f"sqlite:///{desk.folder}/mlflow.db")
    assert client.get_experiment_by_name("mtnat") is None
    experiment = client.get_experiment_by_name("mtnat smoke")
    assert experiment is not None
    tracked = client.search_runs([experiment.experiment_id])
    # The study, a column, and in it the teacher, a baseline and a proposal.
    assert len(tracked) == 1 + 1 + 3


def test_a_smoke_run_reports_failed_runs(desk: Desk) -> None:
    hopeless = {"training.peak_learning_rate": 1e30, "training.clip_norm": 0.0, "training.most_skipped_steps": 1}
    desk.write("bad", steps=2_000, baselines={"linear": {}, "hopeless": hopeless})
    code, _, errors = desk.run("bad.yaml", "--smoke")
    assert code == 1
    assert "smoke: runs failed, 1 of them:\nbad-smoke, hopeless-seed1: " in errors
    assert "Traceback" not in errors


def test_a_smoke_run_of_the_quick_start_succeeds(tmp_path: Path) -> None:
    """With one proposal less and two seeds less, which saves five of nine runs."""
    study = dict(read_yaml(ROOT / "studies" / "quickstart.yaml"))
    study |= {"trials": 1, "confirm": {**study["confirm"], "seeds": study["confirm"]["seeds"][:1]}}
    (tmp_path / "quickstart.yaml").write_text(to_yaml(study))
    command = [sys.executable, str(ROOT / "tune.py"), "quickstart.yaml", "--smoke"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert (done.returncode, done.stderr) == (0, "")
    assert "its scores mean nothing" in done.stdout
    shutil.rmtree(tmp_path / "outputs")


def test_a_smoke_run_does_not_empty_the_folder_of_a_study(desk: Desk) -> None:
    """The study taught-smoke.yaml has the folder that a smoke run of taught.yaml would take."""
    desk.write("taught", steps=20_000, **TAUGHT)
    other = desk.folder / "outputs" / "taught-smoke"
    other.mkdir(parents=True)
    (other / "leaderboard.json").write_text("precious")
    code, _, errors = desk.run("taught.yaml", "--smoke")
    assert (code, errors.count("\n")) == (2, 1)
    assert "taught-smoke: is not the folder of a smoke run, which would be emptied; rename it" in errors
    assert (other / "leaderboard.json").read_text() == "precious"


def test_dry_run_and_smoke_cannot_be_combined(desk: Desk) -> None:
    code, _, errors = desk.run("any.yaml", "--dry-run", "--smoke")
    assert code == 2
    assert "not allowed with" in errors
