"""The notebook of the documentation runs from its first cell to its last."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_study import TINY

import mtnat
from mtnat.config import build, write_yaml
from mtnat.data import prepare
from mtnat.lab.outputs.curves import append_point, write_point
from mtnat.lab.outputs.folder import HYPOTHESES_FILE, StudyFolder, write_result
from mtnat.lab.outputs.runs import Result
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.plan.listed_proposer import ListedProposer
from mtnat.lab.results.judge import RunJudge
from mtnat.lab.results.leaderboard import make_leaderboard
from mtnat.lab.study.record import Study
from mtnat.training.model import EXPERIMENT

DOCS = Path(__file__).parents[2] / "docs"
NOTEBOOK = DOCS / "notebook.ipynb"
QUICK = {
    "question": "Which?",
    "experiment": TINY,
    "baselines": {"mask-predict": {}},
    "search": {"system.kind": {"choice": ["ctc"]}},
    "trials": 1,
    "confirm": {"top": 1, "seeds": [2, 3], "against": "mask-predict"},
}


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    """The study: every run has curves and translations, and the winner's model is trained for a few steps."""
    study = build(Study, QUICK)
    folder = StudyFolder(tmp_path / "outputs" / "quickstart")
    folder.path.mkdir(parents=True)
    folder.begin(study, resume=False)
    references = prepare(study.experiment.data).test.references
    agenda = Agenda(study, ListedProposer({"system.kind": "ctc"}), {})
    while run := agenda.next():
        path, seed = folder.run(run.id), run.experiment.seed
        is_better = run.kind == "trial"
        path.mkdir(parents=True, exist_ok=True)
        (path / EXPERIMENT).write_text(write_yaml(run.experiment))
        append_point(path, write_point(4, {"valid/loss": 3.0 / seed, "valid/bleu": 10.0 * seed}))
        result = Result(run=run.id, valid=50.0 if is_better else 10.0, train_seconds=1.0, parameters=1000)
        if run.phase == "confirm":
            kept = 5 if is_better else 2
            lines = [line if number % kept else "noise" for number, line in enumerate(references, seed)]
            (path / HYPOTHESES_FILE).write_text("".join(f"{line}\n" for line in lines))
            score = mtnat.bleu(lines, references)
            result = result.model_copy(update={"test": score.value, "signature": score.signature})
        write_result(path, result)
        agenda.end(result)
    judge = RunJudge(study, folder)
    board = make_leaderboard("quickstart", study, agenda, judge, test_set="grammar-en-de", seconds=1.0)
    folder.leaderboard.write_text(board.model_dump_json())
    mtnat.train(study.experiment, tmp_path / "trained")
    (tmp_path / "trained" / "model").rename(folder.best_model)
    return folder.path


@pytest.mark.slow
def test_every_cell_runs_in_a_folder_with_a_finished_study(quick: Path, tmp_path: Path) -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    command = [sys.executable, "-W", "error::FutureWarning", "-c", f"{code}\nprint(winner, seed, len(points))"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"MPLBACKEND": "agg"}, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert done.stdout.startswith("trial-01 2 ")
    assert (tmp_path / "outputs" / "small" / "model").is_dir()
    assert quick.exists()


def test_the_page_on_python_shows_code_that_runs(
    quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for code in re.findall(
        r"^```python\n(.*?)^```", (DOCS / "python.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        exec(code, {})
    assert mtnat.open_study(quick).answers[""] in capsys.readouterr().out


def test_the_notebook_shows_its_results() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(cell["outputs"] for cell in cells if cell["cell_type"] == "code")
