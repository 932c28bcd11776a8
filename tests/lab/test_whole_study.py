"""Whole studies started by `python tune.py`, with real Ray, Optuna and MLflow on toy text."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from mtnat.config import build, read_yaml, to_yaml
from mtnat.data import prepare
from mtnat.errors import StudyError
from mtnat.experiment import Experiment
from mtnat.formats import FORMAT_FILE, STUDY_FORMAT, check_format
from mtnat.lab.outputs.folder import StudyFolder
from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.study.record import Study
from mtnat.lab.study.resources import cores
from mtnat.training import Alone, fit, load_model

pytestmark = [pytest.mark.slow, pytest.mark.ray]
ROOT = Path(__file__).parents[2]
WORDS = {
    "a": "ein",
    "red": "rotes",
    "blue": "blaues",
    "house": "Haus",
    "car": "Auto",
    "stands": "steht",
    "here": "hier",
    "now": "nun",
}


@cache
def empty_database() -> bytes:
    """The content of a new mlflow.db, which MLflow takes seconds to make: it applies every version of its tables in turn."""
    with tempfile.TemporaryDirectory() as folder:
        MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
        return (Path(folder) / "mlflow.db").read_bytes()


class Desk:
    """A folder in which studies are started. It has an empty mlflow.db."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "MTNAT_DATA": str(folder / "text"),
            "MTNAT_CACHE": str(folder / "cache"),
            "PYTHONPATH": str(ROOT),
        }
        self.environment.pop("MLFLOW_TRACKING_URI", None)
        (folder / "mlflow.db").write_bytes(empty_database())
        (folder / "text").mkdir()
        dice = random.Random(1)
        for name, lines in {"train": 400, "valid": 12, "test": 12}.items():
            sources = [[dice.choice(list(WORDS)) for _ in range(dice.randint(2, 8))] for _ in range(lines)]
            (folder / "text" / f"{name}.en").write_text("".join(f"{' '.join(words)}\n" for words in sources))
            (folder / "text" / f"{name}.de").write_text(
                "".join(f"{' '.join(map(WORDS.__getitem__, words))}\n" for words in sources)
            )

    def write(self, name: str, steps: int = 20, **changes: Any) -> None:
        training = {"steps": steps, "max_tokens_per_batch": 128, "warmup_steps": 4, "log_every": 2, "validate_every": 10}
        experiment = {
            "data": {part: [f"{part}.en", f"{part}.de"] for part in ("train", "valid", "test")} | {"vocabulary_size": 64},
            "model": {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 1},
            "training": training | changes.pop("training", {}),
            "decoding": {"iterations": 2, "length_candidates": 2},
        }
        # With one run at a time Ray starts one process less, which takes ten seconds of a core.
        study = {"question": "Does it work?", "experiment": experiment, "resources": {"at_once": 1}} | changes
        (self.folder / f"{name}.yaml").write_text(to_yaml(study))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(ROOT / "tune.py"), *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, errors = ended(process)
        return process.returncode, out, errors

    def runs(self, study: str) -> Path:
        return self.folder / "outputs" / study / "runs"

    def curve(self, study: str, run: str, metric: str) -> list[tuple[int, float]]:
        lines = (self.runs(study) / run / "curves.jsonl").read_text().splitlines()
        points = [json.loads(line) for line in lines]
        return [(point["step"], point["metrics"][metric]) for point in points if metric in point["metrics"]]

    def tracked(self) -> tuple[MlflowClient, list[Any]]:
        client = MlflowClient(f"sqlite:///{self.folder}/mlflow.db")
        experiment = client.get_experiment_by_name("mtnat")
        assert experiment is not None
        return client, list(client.search_runs([experiment.experiment_id]))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Waits for the end of a process and returns what it printed. One that takes too long is stopped, so that it does not run
    beside the next tests."""
    try:
        return process.communicate(timeout=900)
    except subprocess.TimeoutExpired:
        process.terminate()
        raise AssertionError("the process did not end", process.communicate()) from None


def wait_until(holds: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    for _ in range(12_000):
        if holds():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.terminate()
    raise AssertionError("the condition was never met", process.communicate())


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Desk, str]:
    """A desk with a finished study, and what it printed."""
    desk = Desk(tmp_path_factory.mktemp("answered"))
    kind = "objective.schedule.kind"
    desk.write(
        "small",
        baselines={
            "mask-predict": {"objective.schedule": {"kind": "constant", "value": 1.0}},
            "hopeless": {"training.peak_learning_rate": 1e30, "training.clip_norm": 0.0, "training.most_skipped_steps": 4},
            "stalled": {
                "training.peak_learning_rate": 1e-20,
                "training.initial_learning_rate": 0.0,
                "training.validate_every": 5,
                "training.patience": 1,
            },
        },
        search={
            kind: {"choice": ["linear", "power"]},
            "objective.schedule.exponent": {"float": [0.25, 4.0], "when": {kind: "power"}},
        },
        trials=2,
        confirm={"top": 1, "seeds": [2], "against": "mask-predict"},
        analysis={"every": 10, "similarity": {"against": ["mask-predict"], "sentences": 50}},
    )
    code, out, errors = desk.run("small.yaml")
    assert (code, errors) == (0, "")
    return desk, out


def leaderboard_of(desk: Desk) -> Leaderboard:
    return Leaderboard.model_validate_json((desk.folder / "outputs" / "small" / "leaderboard.json").read_bytes())


def test_a_finished_study_has_an_answer_and_a_complete_leaderboard(answered: tuple[Desk, str]) -> None:
    desk, out = answered
    leaderboard = leaderboard_of(desk)
    assert leaderboard.answer in out
    assert "mlflow ui" in out
    rows = {row.name: row for row in leaderboard.rows}
    assert rows.keys() == {"mask-predict", "hopeless", "stalled", "trial-01", "trial-02"}
    assert "not finite" in (rows["hopeless"].failed or "")
    assert rows["stalled"].failed is None
    assert [step for step, _ in desk.curve("small", "stalled-seed2", "test/bleu")] == [10]
    confirmed = [row for row in leaderboard.rows if row.kind == "trial" and row.confirmed]
    assert len(confirmed) == 1
    assert confirmed[0].seeds == rows["mask-predict"].seeds == (2,)
    assert confirmed[0].p_value is not None


def test_the_model_of_the_winner_is_saved(answered: tuple[Desk, str]) -> None:
    outputs = answered[0].folder / "outputs" / "small"
    best = build(Experiment, read_yaml(outputs / "best.yaml"))
    check_format(outputs, STUDY_FORMAT, StudyError)
    assert all((folder / FORMAT_FILE).exists() for folder in (outputs, outputs / "best"))
    model = load_model(outputs / "best")
    assert model.experiment == best
    assert len(model.translate(["a red house"])) == 1


def test_mlflow_has_a_run_for_each_run_of_the_study(answered: tuple[Desk, str]) -> None:
    desk, _ = answered
    client, runs = desk.tracked()
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert len(children) == len(list(desk.runs("small").iterdir()))
    assert {run.data.tags["trial"]: run.info.status for run in children}["hopeless"] == "FAILED"
    assert {run.info.status for run in children if run.data.tags["trial"] != "hopeless"} == {"FINISHED"}
    scored = next(run for run in children if "test/bleu" in run.data.metrics)
    assert scored.data.metrics["cost/tokens"] > 0
    assert scored.data.metrics["cost/seconds"] > scored.data.metrics["train/seconds"] > 0
    assert {entry.path for entry in client.list_artifacts(scored.info.run_id)} == {
        "experiment.yaml",
        "model",
        "test.hyp.txt",
        "validation.txt",
    }
    assert scored.data.tags["data_hash"]


def test_encoders_are_compared_over_training(answered: tuple[Desk, str]) -> None:
    desk, _ = answered
    analysis = leaderboard_of(desk).analysis
    assert analysis
    assert [(each.against, each.seeds) for each in analysis.similarities] == [("mask-predict", (2,))] * 2
    curve = desk.curve("small", "stalled-seed2", "similarity/mask-predict/cka")
    assert [step for step, _ in curve] == [0, 10]
    assert all(0 < value < 1 for _, value in curve)
    assert curve[0] != curve[1]
    client, runs = desk.tracked()
    (stalled,) = [run for run in runs if run.data.tags.get("trial") == "stalled" and run.data.tags["phase"] == "confirm"]
    points = client.get_metric_history(stalled.info.run_id, "similarity/mask-predict/cka")
    assert [(point.step, point.value) for point in points] == curve
    assert (desk.folder / "outputs" / "small" / "similarity.png").exists()


def test_a_finished_study_is_refused_without_resume_and_shown_with_resume(answered: tuple[Desk, str]) -> None:
    desk, _ = answered
    code, _, errors = desk.run("small.yaml")
    assert code == 2
    assert "is finished" in errors
    code, shown, _ = desk.run("small.yaml", "--resume")
    assert code == 0
    assert leaderboard_of(desk).answer in shown


def test_ended_runs_leave_models_and_no_checkpoints(answered: tuple[Desk, str]) -> None:
    runs = answered[0].runs("small")
    assert len(list(runs.glob("*/model/weights.pt"))) >= 6
    assert [path.parent.name for path in runs.glob("*/checkpoints")] == []


def test_an_interrupted_or_killed_study_can_be_resumed(desk: Desk) -> None:
    steps = 400  # so many that no run ends between a look at the folder and the signal
    baselines = {name: {"training.weight_decay": index / 10} for index, name in enumerate("abc")}
    desk.write("long", steps=steps, training={"validate_every": 50}, baselines=baselines)
    runs = desk.runs("long")

    checked: set[str] = set()
    """Runs that had a checkpoint when the study was stopped."""

    def has_begun(done: int) -> bool:
        ended = {path.parent for path in runs.glob("*/run.json")}
        begun = {path.parent.parent for path in runs.glob("*/checkpoints/*.pt")}
        if len(ended) < done or not begun - ended:
            return False
        checked.update(path.name for path in begun)
        return True

    process = desk.start("long.yaml")
    wait_until(lambda: has_begun(1), process)
    with pytest.raises(StudyError, match="is running"), StudyFolder(runs.parent).held():
        pass
    process.send_signal(signal.SIGINT)
    _, errors = ended(process)
    assert process.returncode == 130
    assert "--resume" in errors
    statuses = {run.info.status for run in desk.tracked()[1]}
    assert "KILLED" in statuses  # also a run that has ended, if the driver had not read its end yet
    assert statuses <= {"FINISHED", "KILLED"}

    assert desk.run("long.yaml")[0] == 2  # it was begun before
    process = desk.start("long.yaml", "--resume")
    wait_until(lambda: has_begun(2), process)
    process.kill()
    process.communicate()
    results = {path: path.stat().st_mtime_ns for path in runs.glob("*/run.json")}

    code, out, errors = desk.run("long.yaml", "--resume")
    assert (code, errors) == (0, "")
    assert f"resumed: {len(results)} runs have ended before" in out
    assert {path: path.stat().st_mtime_ns for path in results} == results
    for name in "abc":
        seen = [step for step, _ in desk.curve("long", f"{name}-seed1", "train/loss")]
        assert seen.count(2) == 1 or f"{name}-seed1" not in checked  # not from the beginning
        assert set(seen) == set(range(2, steps + 1, 2))
    client, tracked = desk.tracked()
    assert len(tracked) == 1 + 3
    assert {run.info.status for run in tracked} == {"FINISHED"}
    for run in tracked:
        if "mlflow.parentRunId" in run.data.tags:
            assert [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")] == list(
                range(2, steps + 1, 2)
            )


UPDATES = {"log_every": 1, "batches_per_step": 2, "precision": "fp32"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, float]]:
    """The loss curve of a run with one worker, without Ray."""
    desk = Desk(tmp_path_factory.mktemp("alone"))
    desk.write("one", training=UPDATES, baselines={"annealing": {}})
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MTNAT_DATA", "MTNAT_CACHE"):
            patch.setenv(name, desk.environment[name])
        experiment = build(Study, read_yaml(desk.folder / "one.yaml")).experiment
        points = list(fit(experiment, prepare(experiment.data), desk.folder / "run", workers=Alone("cpu")))
    curve = [(point.step, point.metrics["train/loss"]) for point in points if "train/loss" in point.metrics]
    assert [step for step, _ in curve] == list(range(1, 21))
    return curve


def loss_curve(desk: Desk, **resources: Any) -> list[tuple[int, float]]:
    """The loss curve of the same run on other resources."""
    desk.write("other", training=UPDATES, baselines={"annealing": {}}, resources=resources)
    assert desk.run("other.yaml")[::2] == (0, "")
    return desk.curve("other", "annealing-seed1", "train/loss")


@pytest.mark.skipif(cores() < 2, reason="two workers need two cores")
@pytest.mark.parametrize("workers", [pytest.param(2, id="two", marks=pytest.mark.chaos), pytest.param([1, 2], id="elastic")])
def test_several_workers_compute_the_same_losses_as_one_worker(
    desk: Desk, alone: list[tuple[int, float]], workers: Any
) -> None:
    several = loss_curve(desk, workers=workers)
    assert [step for step, _ in several] == [step for step, _ in alone]
    assert [loss for _, loss in several] == pytest.approx([loss for _, loss in alone], abs=1e-4)


def test_ray_train_computes_the_same_losses_as_training_without_ray(desk: Desk, alone: list[tuple[int, float]]) -> None:
    assert loss_curve(desk, launcher="ray-train") == alone


def test_students_of_each_column_train_on_the_text_of_their_columns_teacher(desk: Desk) -> None:
    at = {"objective.schedule": {"kind": "constant", "value": 0.0}}
    turned = {f"data.{split}": [f"{split}.de", f"{split}.en"] for split in ("train", "valid", "test")}
    desk.write(
        "taught",
        columns={"en-de": {}, "de-en": turned},
        teacher={"settings": at, "beam": 2},
        baselines={"transformer": {**at, "data.distilled": None}, "linear": {}},
        confirm={"top": 0, "seeds": [1], "against": "transformer"},
        published={"source": "nobody", "bleu": {"linear": {"en-de": 12.34}}},
    )
    process = desk.start("taught.yaml")
    outputs = desk.folder / "outputs" / "taught"
    wait_until(lambda: (outputs / "en-de" / "distillation.json").exists(), process)
    process.terminate()
    _, errors = ended(process)
    assert (process.returncode, errors) == (130, "Stopped; `python tune.py taught.yaml --resume` continues where it stopped.\n")
    written = (outputs / "en-de" / "distilled.de.gz").read_bytes()
    teacher = outputs / "en-de" / "runs" / "transformer-seed1" / "curves.jsonl"
    curves = teacher.read_text()

    code, out, errors = desk.run("taught.yaml", "--resume")
    assert (code, errors) == (0, "")
    table = (outputs / "table.md").read_text()
    assert "12.34" in table
    assert "12.34" in out
    assert (outputs / "table.tex").read_text().count("\\multicolumn") == 2 * 2  # those of the study, and published ones
    assert (outputs / "en-de" / "distilled.de.gz").read_bytes() == written
    assert teacher.read_text().startswith(curves)  # not trained again
    for column, language in (("en-de", "de"), ("de-en", "en")):
        trained = {
            path.name: build(Experiment, read_yaml(path / "experiment.yaml")) for path in (outputs / column / "runs").iterdir()
        }
        assert trained.keys() == {"transformer-seed1", "linear-seed1"}
        assert {run.data.distilled for name, run in trained.items() if "linear" in name} == {
            str(outputs / column / f"distilled.{language}.gz")
        }
        assert trained["transformer-seed1"].data.distilled is None
        found = json.loads((outputs / column / "distillation.json").read_text())
        assert (found["teacher"], found["lines"]) == ("transformer-seed1", 400)
        assert found["raw"]["source_words"] == found["distilled"]["source_words"]
        assert found["raw"]["conditional_entropy"] != found["distilled"]["conditional_entropy"]

    client, runs = desk.tracked()
    names = {run.info.run_id: run.info.run_name for run in runs}
    parents = {run.info.run_name: names.get(run.data.tags.get("mlflow.parentRunId")) for run in runs}
    assert parents["taught"] is None
    assert parents["taught/en-de"] == parents["taught/de-en"] == "taught"
    assert len(runs) == 1 + 2 + 4
    assert {run.info.status for run in runs} == {"FINISHED"}
    direction = next(run for run in runs if run.info.run_name == "taught/en-de")
    assert "distilled.de.gz" in {entry.path for entry in client.list_artifacts(direction.info.run_id)}
    assert [each.dataset.name for each in direction.inputs.dataset_inputs] == ["distilled by transformer-seed1"]
    student = next(run for run in runs if run.info.run_name == "linear, seed 1")
    (used,) = student.inputs.dataset_inputs
    assert used.dataset.name.endswith(", distilled")
