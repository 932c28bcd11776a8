import pickle
import shutil
from pathlib import Path

import pytest
import torch

from mtnat.config import build, read_yaml, replace
from mtnat.data import prepare
from mtnat.errors import ModelError
from mtnat.experiment import Experiment
from mtnat.formats import FORMAT_FILE, MODEL_FORMAT, check_format
from mtnat.systems import MaskPredict
from mtnat.training import Model, load_model, save_model

OLD_MODEL = Path(__file__).parent / "model_0_1_0"


@pytest.fixture(scope="module")
def model() -> Model:
    experiment = Experiment.model_validate(
        {
            "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300},
            "model": {
                "width": 16,
                "heads": 2,
                "feed_forward": 32,
                "encoder_layers": 1,
                "decoder_layers": 1,
                "max_positions": 128,
            },
            "training": {"steps": 2, "warmup_steps": 1},
        }
    )
    torch.manual_seed(0)
    vocabularies = prepare(experiment.data).vocabularies
    return Model(experiment, experiment.build_translator(vocabularies), vocabularies)


def test_a_model_folder_loads_as_it_was_saved(model: Model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "best")
    loaded = load_model(tmp_path / "best")
    assert loaded.experiment == model.experiment
    lines = ["The old man sees the dog.", "", "She sleeps."]
    assert loaded.translate(lines) == model.translate(lines)
    assert loaded.translate(lines)[1].text == ""
    save_model(model, tmp_path / "best")  # again over the old one
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_model_folder_of_version_0_1_0_loads(tmp_path: Path) -> None:
    """It has no format. `model_0_1_0` was trained by that version, and lacks only the vocabulary, which its data determine."""
    shutil.copytree(OLD_MODEL, tmp_path / "old")
    experiment = build(Experiment, read_yaml(tmp_path / "old" / "experiment.yaml"))
    prepare(experiment.data).vocabularies.save(tmp_path / "old" / "vocabulary")
    loaded = load_model(tmp_path / "old")
    assert (loaded.experiment.system, loaded.experiment.branches) == (MaskPredict(), ("at", "nat"))
    assert len(loaded.translate(["She sleeps."])) == 1
    save_model(loaded, tmp_path / "new")
    check_format(tmp_path / "new", MODEL_FORMAT, ModelError)
    assert (tmp_path / "new" / FORMAT_FILE).exists()
    old, new = (torch.load(tmp_path / name / "weights.pt") for name in ("old", "new"))
    assert len(old) == len(new)
    assert sum(weight.double().sum() for weight in old.values()) == sum(weight.double().sum() for weight in new.values())


def test_a_model_folder_without_a_format_loads(model: Model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "model")
    (tmp_path / "model" / FORMAT_FILE).unlink()
    assert load_model(tmp_path / "model").experiment == model.experiment


@pytest.mark.parametrize(
    "content", [b"", b"no weights\n", b"cos\nsystem\n(S'true'\ntR.", pickle.dumps({"a": Path("b")}, protocol=2)]
)
def test_a_weights_file_with_other_content_is_reported(model: Model, tmp_path: Path, content: bytes) -> None:
    save_model(model, tmp_path / "model")
    (tmp_path / "model" / "weights.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.pt: cannot be read \(.*\); train the model again") as raised:
        load_model(tmp_path / "model")
    assert "weights_only" not in str(raised.value)


def test_what_is_wrong_with_a_model_folder_is_said(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a model folder"):
        load_model(tmp_path / "nothing")
    save_model(model, tmp_path / "cut")
    weights = tmp_path / "cut" / "weights.pt"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"weights\.pt: cannot be read"):
        load_model(tmp_path / "cut")
    other = Model(replace(model.experiment, {"model.width": 32}), model.translator, model.vocabularies)
    save_model(other, tmp_path / "other")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("experiment.yaml", "- 1\n", ", line 1: must hold `name: value` lines; got [1]; `mtnat new` writes a study file."),
        (
            "vocabulary/joint.model",
            "no model",
            ": is not a sentencepiece model; prepare the data or train the model again.",
        ),
    ],
)
def test_a_file_of_a_model_folder_is_named_once(model: Model, tmp_path: Path, name: str, text: str, problem: str) -> None:
    save_model(model, tmp_path / "model")
    path = tmp_path / "model" / name
    path.write_text(text)
    with pytest.raises(ModelError) as raised:
        load_model(tmp_path / "model")
    assert raised.value.problems == (f"{path}{problem}",)
