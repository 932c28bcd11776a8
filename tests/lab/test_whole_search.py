"""Whole studies with a pruner, a horizon, several metrics or a warm start."""

import json
import re
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from test_whole_study import Desk

from mtnat.lab.outputs.folder import StudyFolder
from mtnat.lab.results.leaderboard import Leaderboard

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def states(desk: Desk, study: str) -> dict[str, str]:
    """The states of the proposals in Optuna's journal."""
    storage = JournalStorage(JournalFileBackend(str(desk.folder / "outputs" / study / "optuna.journal")))
    trials = optuna.load_study(study_name="study", storage=storage).trials
    return {trial.user_attrs["proposal"]["name"]: trial.state.name for trial in trials if "proposal" in trial.user_attrs}


def leaderboard(desk: Desk, study: str) -> Leaderboard:
    return Leaderboard.model_validate_json((desk.folder / "outputs" / study / "leaderboard.json").read_bytes())


def test_pruned_trials_end_early_and_only_the_kept_models_stay_on_disk(desk: Desk) -> None:
    desk.write(
        "pruned",
        steps=160,
        training={"validate_every": 40},
        baselines={"linear": {}},
        search={"training.peak_learning_rate": {"choice": [1e-2, 1e-5, 2e-5, 3e-5]}},
        sampler={"kind": "grid"},
        pruner={"kind": "asha", "first_step": 40, "factor": 2},
        keep_models=1,
    )
    code, out, errors = desk.run("pruned.yaml")
    assert (code, errors) == (0, "")
    results = StudyFolder(desk.folder / "outputs" / "pruned").results()
    pruned = {run.rpartition("-seed")[0] for run, result in results.items() if result.pruned is not None}
    assert pruned
    assert "trial-01" not in pruned  # the only one that learns
    assert {name for name, state in states(desk, "pruned").items() if state == "PRUNED"} == pruned
    assert set(states(desk, "pruned").values()) <= {"PRUNED", "COMPLETE"}
    rows = {row.name: row for row in leaderboard(desk, "pruned").rows}
    assert {name for name, row in rows.items() if row.pruned is not None} == pruned
    assert "ended at step" in out

    with_model = {path.parent.name for path in desk.runs("pruned").glob("*/model")}
    assert with_model == {"linear-seed1", "trial-01-seed1"}
    assert not list(desk.runs("pruned").glob("*/checkpoints"))
    client, runs = desk.tracked()
    assert {run.info.status for run in runs} == {"FINISHED"}
    children = {run.data.tags["trial"]: run for run in runs if "mlflow.parentRunId" in run.data.tags}
    assert {name for name, run in children.items() if "pruned" in run.data.tags} == pruned
    for name, run in children.items():
        kept = "model" in {entry.path for entry in client.list_artifacts(run.info.run_id)}
        assert kept == (name in ("linear", "trial-01"))


def test_the_best_of_a_rung_are_trained_in_the_next_rung_and_confirmed_at_each_look(desk: Desk) -> None:
    desk.write(
        "climb",
        steps=40,
        search={"training.weight_decay": {"float": [0.0, 0.1]}},
        trials=4,
        horizon={"steps": [10, 20, 40], "keep": 0.5},
        confirm={"top": 1, "seeds": [2, 3, 4], "looks": [2, 3], "against": "linear"},
        baselines={"linear": {}},
    )
    code, out, errors = desk.run("climb.yaml")
    assert (code, errors) == (0, "")
    assert re.search(r"^after 2 seeds: (linear|trial-0\d|No difference)", out, re.MULTILINE)
    (note,) = [note for note in leaderboard(desk, "climb").notes if "looks after 2 and 3 seeds" in note]
    seeds = 2 if note.startswith("The answer was settled after 2 of 3 seeds, which saved 2 runs; p is") else 3
    assert seeds == 2 or note.startswith("All 3 seeds were needed; p is")
    runs = [path.name for path in desk.runs("climb").iterdir()]
    lengths = [max(step for step, _ in desk.curve("climb", run, "train/loss")) for run in runs]
    assert sorted(lengths) == [10] * 4 + [20] * 2 + [40] * 2 * (1 + seeds)  # a full run and the baseline's, with each seed
    assert set(states(desk, "climb").values()) == {"COMPLETE"}
    ladder = sorted(row.name for row in leaderboard(desk, "climb").rows if row.confirmed)
    assert len(ladder) == 2


def test_a_study_of_several_metrics_has_a_front_and_warm_starts_another_study(desk: Desk) -> None:
    front: dict[str, Any] = {
        "baselines": {"one pass": {"decoding.iterations": 1}},
        "search": {"decoding.iterations": {"int": [1, 3]}, "decoding.length_candidates": {"choice": [2]}},
        "sampler": {"kind": "grid"},
        "metrics": [{"valid.bleu": "max"}, {"decode.seconds": "min"}],
    }
    desk.write("front", **front)
    code, out, errors = desk.run("front.yaml")
    assert (code, errors) == (0, "")
    assert set(states(desk, "front").values()) == {"COMPLETE"}
    assert len(states(desk, "front")) == 2  # of the grid's three one is the baseline
    found = leaderboard(desk, "front")
    assert any(row.on_front for row in found.rows)
    assert "front of valid.bleu and decode.seconds" in out
    assert (desk.folder / "outputs" / "front" / "pareto.png").stat().st_size > 1000

    more = {"decoding.iterations": {"int": [1, 4]}, "decoding.length_candidates": {"choice": [2]}}
    desk.write("more", **front | {"search": more, "warm_start": [str(desk.folder / "outputs" / "front")]})
    code, out, errors = desk.run("more.yaml")
    assert (code, errors) == (0, "")
    assert "front/trial-01" in out
    assert len(states(desk, "more")) == 1  # all others of the grid are known
    assert {row.name for row in leaderboard(desk, "more").rows} == {"one pass", "front/trial-01", "front/trial-02", "trial-01"}
    taken = json.loads((desk.folder / "outputs" / "more" / "warm_start.json").read_text())
    assert set(taken["trials"]) == {"front/trial-01", "front/trial-02"}
    _, runs = desk.tracked()
    assert len(runs) == 2 + 3 + 4
    assert {run.info.status for run in runs} == {"FINISHED"}
