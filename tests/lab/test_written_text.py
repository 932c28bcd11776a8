"""A whole study whose models write three kinds of training text, with real Ray and MLflow: killed in between, and resumed."""

import gzip
import json

import pytest
from test_whole_study import Desk, wait_until

from mtnat.config import build, read_yaml
from mtnat.experiment import Experiment
from mtnat.lab.results.leaderboard import Leaderboard

pytestmark = [pytest.mark.slow, pytest.mark.ray]
AT = {"objective.schedule": {"kind": "constant", "value": 0.0}}
STAGES = [{"text": "raw", "share": 2}, {"text": "bidirectional", "share": 2}, {"text": "distilled", "share": 6}]


def test_trials_of_one_study_train_on_distilled_rejuvenated_and_staged_text(tmp_path_factory: pytest.TempPathFactory) -> None:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    raw = {"data.distilled": None, "data.rejuvenated": None}
    desk.write(
        "texts",
        teacher={"settings": AT, "beam": 1},
        reverse_teacher={"beam": 1},
        rejuvenation={"beam": 1},
        baselines={
            "transformer": {**AT, **raw},
            "distilled": {},
            "rejuvenated": {"data.distilled": None},
            "staged": {"data.stages": STAGES},
        },
        confirm={"top": 0, "seeds": [1], "against": "distilled"},
    )
    outputs = desk.folder / "outputs" / "texts"
    process = desk.start("texts.yaml")
    wait_until(lambda: (outputs / "active.gz").exists(), process)  # in the middle of the rejuvenation
    process.kill()
    process.communicate()
    before = {path.name: path.read_bytes() for path in outputs.glob("*.gz")}
    assert before.keys() == {"distilled.de.gz", "reverse.en.gz", "active.gz"}

    code, out, errors = desk.run("texts.yaml", "--resume")
    assert (code, errors) == (0, "")
    assert {name: (outputs / name).read_bytes() for name in before} == before
    own = (desk.folder / "text" / "train.de").read_text().split("\n")
    found = gzip.decompress((outputs / "rejuvenated.de.gz").read_bytes()).decode().split("\n")
    assert len(own) == len(found)
    assert 0 < sum(one != other for one, other in zip(own, found, strict=True)) <= 40

    runs = {path.name: build(Experiment, read_yaml(path / "experiment.yaml")).data for path in (outputs / "runs").iterdir()}
    texts = {"transformer": "raw", "distilled": "distilled", "rejuvenated": "rejuvenated"}
    assert {name: data.text for name, data in runs.items()} == {
        **{f"{trial}-seed1": text for trial, text in texts.items()},
        "staged-seed1": "raw, then bidirectional, then distilled",
        "reverse-teacher-seed1": "raw",
        "rejuvenation-seed1": "raw, selected pairs",
    }
    assert runs["reverse-teacher-seed1"].train == ("train.de", "train.en")
    assert [stage for _, stage in desk.curve("texts", "staged-seed1", "train/stage")] == [1, 1, 2, 2, 3, 3, 3, 3, 3, 3]

    leaderboard = Leaderboard.model_validate_json((outputs / "leaderboard.json").read_bytes())
    assert {row.name: row.text for row in leaderboard.rows} == texts | {"staged": "raw, then bidirectional, then distilled"}
    assert leaderboard.answer in out
    notes = (outputs / "leaderboard.md").read_text()
    for words in (
        "Trained on what transformer-seed1",
        "The bidirectional text adds",
        "Rejuvenation rewrote",
        "Training text: ",
    ):
        assert words in notes
    assert json.loads((outputs / "rejuvenation.json").read_text())["identification"] == "transformer-seed1"

    client, tracked = desk.tracked()
    assert {run.info.status for run in tracked} == {"FINISHED"}
    study = next(run for run in tracked if run.info.run_name == "texts")
    assert {each.dataset.name for each in study.inputs.dataset_inputs} == {
        "distilled by transformer-seed1",
        "sources distilled by reverse-teacher-seed1",
        "rejuvenated by rejuvenation-seed1",
    }
    kept = {entry.path for entry in client.list_artifacts(study.info.run_id)}
    assert {"distilled.de.gz", "reverse.en.gz", "rejuvenated.de.gz", "rejuvenation.json"} <= kept
    staged = next(run for run in tracked if run.info.run_name == "staged, seed 1")
    (used,) = staged.inputs.dataset_inputs
    assert used.dataset.name.endswith(", raw, then bidirectional, then distilled")
