"""Models stored in MLflow can be opened by their URIs."""

from pathlib import Path

import mlflow
import pytest
import torch

from mtnat.config import build
from mtnat.data import prepare
from mtnat.errors import ModelError
from mtnat.experiment import Experiment
from mtnat.formats import FORMAT_FILE
from mtnat.lab.tracking.address import default_uri
from mtnat.lab.tracking.mlflow_tracker import MlflowTracker
from mtnat.lab.tracking.models import fetch_model, open_model
from mtnat.training import Model, save_model

EXPERIMENT = {
    "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300},
    "model": {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 1, "max_positions": 128},
    "training": {},
}
LINES = ["The old man sees the dog.", "", "She sleeps."]


@pytest.mark.slow
def test_a_model_opened_from_mlflow_translates_like_the_saved_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    experiment = build(Experiment, EXPERIMENT)
    vocabularies = prepare(experiment.data).vocabularies
    torch.manual_seed(1)
    model = Model(experiment, experiment.build_translator(vocabularies), vocabularies)
    save_model(model, tmp_path / "model")
    tracker = MlflowTracker(default_uri(), "a study", artifacts=str(tmp_path / "artifacts"))
    tracker.begin("key", "a run")
    tracker.keep("key", tmp_path / "model", "model")
    client = mlflow.MlflowClient(tracking_uri=default_uri())
    study = client.get_experiment_by_name("a study")
    assert study is not None
    [run] = client.search_runs([study.experiment_id])
    client.create_registered_model("best")
    client.create_model_version("best", f"{run.info.artifact_uri}/model", run.info.run_id)

    expected = model.translate(LINES)
    for address in (f"runs:/{run.info.run_id}/model", "models:/best/1"):
        assert open_model(address).translate(LINES) == expected
        fetched = fetch_model(address, tmp_path / address.partition(":")[0])
        assert (fetched / FORMAT_FILE).read_bytes() == (tmp_path / "model" / FORMAT_FILE).read_bytes()
    (tmp_path / "model" / FORMAT_FILE).write_text('{"format": 2, "mtnat": "0.9.0"}')
    tracker.keep("key", tmp_path / "model", "newer")
    with pytest.raises(ModelError, match=r"has format 2, .*; install mtnat 0\.9\.0 or newer"):
        open_model(f"runs:/{run.info.run_id}/newer")
    with pytest.raises(ModelError, match="runs:/0123/model: cannot be fetched from sqlite:///"):
        open_model("runs:/0123/model")
    with pytest.raises(ModelError, match="models:/best/2: cannot be fetched from sqlite:///"):
        open_model("models:/best/2")
