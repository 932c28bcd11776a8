"""A study goes on when MLflow's server dies, and nothing that it recorded is lost or doubled."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow_server import Server, served
from test_whole_study import Desk, ended, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.ray]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def server(desk: Desk) -> Iterator[Server]:
    with served(desk.folder) as server:
        yield server


def test_a_study_outlives_the_server_and_a_resumed_one_sends_what_it_lacks(desk: Desk, server: Server) -> None:
    desk.write("long", steps=60, baselines={"linear": {}, "other": {}, "third": {}}, confirm=None)
    outputs = desk.folder / "outputs" / "long"
    process = desk.start("long.yaml", "--tracking-uri", server.uri)
    wait_until(lambda: any(outputs.glob("runs/*/curves.jsonl")), process)
    server.kill()
    out, errors = ended(process)
    assert (process.returncode, errors) == (0, "")
    assert re.search(r"MLflow at http://127.0.0.1:\d+ does not answer \(", out)
    assert f"`python tune.py long.yaml --tracking-uri {server.uri} --resume` sends it." in out.replace("\n", " ")
    assert (outputs / "mlflow.unsent").exists()
    leaderboard = (outputs / "leaderboard.json").read_bytes()

    code, out, errors = desk.run("long.yaml", "--resume", "--tracking-uri", server.uri)
    assert (code, out) == (2, "")
    assert re.fullmatch(
        r"--tracking-uri http://127.0.0.1:\d+: no server answers \(.*\); start it, or correct the address.\n", errors
    )

    server.start()
    code, out, errors = desk.run("long.yaml", "--resume", "--tracking-uri", server.uri)
    assert (code, errors) == (0, "")
    assert not (outputs / "mlflow.unsent").exists()
    assert json.loads((outputs / "leaderboard.json").read_bytes())["rows"] == json.loads(leaderboard)["rows"]

    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("mtnat")
    assert experiment is not None
    tracked = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    names = {name: f"{name}, seed 1" for name in ("linear", "other", "third")}
    assert tracked.keys() == {"long", *names.values()}
    assert len(client.search_runs([experiment.experiment_id])) == len(tracked)
    assert {run.info.status for run in tracked.values()} == {"FINISHED"}
    assert "leaderboard.json" in {file.path for file in client.list_artifacts(tracked["long"].info.run_id)}
    for name, run_name in names.items():
        run_id = tracked[run_name].info.run_id
        points = [(point.step, point.value) for point in client.get_metric_history(run_id, "train/loss")]
        assert sorted(points) == desk.curve("long", f"{name}-seed1", "train/loss")
        assert {"model", "experiment.yaml"} <= {file.path for file in client.list_artifacts(run_id)}
