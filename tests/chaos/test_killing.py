"""A study whose processes are killed at random ends like an undisturbed study."""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import optuna
import psutil
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from test_whole_study import Desk, ended

from mtnat.data import prepare
from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.study.resources import cores
from mtnat.training import Alone, fit, read_experiment


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


pytestmark = [pytest.mark.chaos, pytest.mark.ray]
VICTIMS = ("trial actor", "Train controller", "Train worker", "driver")
TITLES = {
    "ray::ImplicitFunc": "trial actor",
    "ray::TrainController": "Train controller",
    "ray::RayTrainWorker": "Train worker",
}


def processes(desk: Desk) -> dict[str, list[int]]:
    """Ids of a study's processes, by what they are."""
    found: dict[str, list[int]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has just ended
            title = " ".join(process.cmdline())
            kind = next((kind for start, kind in TITLES.items() if title.startswith(start)), None)
            if kind and process.environ().get("MTNAT_CACHE", "").startswith(str(desk.folder)):
                found.setdefault(kind, []).append(process.pid)
    return found


@pytest.mark.skipif(cores() < 2, reason="two runs side by side need two cores")
def test_random_kills_do_not_change_the_results_of_a_study(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 200
    desk.write(
        "hard",
        steps=steps,
        training={"validate_every": 20},
        baselines={"linear": {}},
        search={"training.weight_decay": {"float": [0.0, 0.1]}},
        trials=1,
        confirm=None,
        resources={"launcher": "ray-train"},
    )
    dice = random.Random(int(os.environ.get("MTNAT_KILLING_SEED", "1")))
    outputs = desk.folder / "outputs" / "hard"
    killed: list[str] = []
    wanted = dice.sample(VICTIMS, len(VICTIMS))
    process = desk.start("hard.yaml")
    while len(killed) < len(wanted):
        time.sleep(dice.uniform(2, 6))
        if process.poll() is not None:
            assert process.returncode == 0, process.communicate()
            break
        found = {**processes(desk), "driver": [process.pid]}
        victim = wanted[len(killed)]
        if victim not in found or (victim == "driver" and not (outputs / "study.yaml").exists()):
            continue  # it is not there yet
        try:
            os.kill(dice.choice(found[victim]), signal.SIGKILL)
        except ProcessLookupError:
            continue
        killed.append(victim)
        if victim == "driver":
            process.communicate()
            process = desk.start("hard.yaml", "--resume")
    assert killed == wanted
    out, errors = ended(process)
    assert process.returncode == 0, (killed, out, errors)

    leaderboard = Leaderboard.model_validate_json((outputs / "leaderboard.json").read_bytes())
    assert sorted(row.name for row in leaderboard.rows) == ["linear", "trial-01"]
    assert [row.name for row in leaderboard.rows if row.failed] == [], (killed, out)

    client, tracked = desk.tracked()
    keys = [run.data.tags["mtnat.run"] for run in tracked]
    assert len(keys) == len(set(keys)) == 1 + 2
    assert {run.info.status for run in tracked} == {"FINISHED"}
    for run in tracked:
        if "mlflow.parentRunId" in run.data.tags:
            points = [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")]
            assert points == list(range(2, steps + 1, 2))
    storage = JournalStorage(JournalFileBackend(str(outputs / "optuna.journal")))
    proposed = optuna.load_study(study_name="study", storage=storage).trials
    assert TrialState.RUNNING not in {trial.state for trial in proposed}
    complete = [trial.user_attrs["proposal"]["name"] for trial in proposed if "proposal" in trial.user_attrs]
    assert complete == ["trial-01"]

    # A training that was killed and resumed has the numbers of an undisturbed one.
    for name in ("MTNAT_DATA", "MTNAT_CACHE"):
        monkeypatch.setenv(name, desk.environment[name])
    experiment = read_experiment(desk.runs("hard") / "linear-seed1" / "model")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    calm = list(fit(experiment, prepare(experiment.data), desk.folder / "calm", workers=Alone("cpu")))
    torch.set_num_threads(threads)
    for metric in ("train/loss", "valid/bleu"):
        expected = {point.step: point.metrics[metric] for point in calm if metric in point.metrics}
        assert dict(desk.curve("hard", "linear-seed1", metric)) == expected
