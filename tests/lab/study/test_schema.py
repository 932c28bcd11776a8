"""The JSON schemas of study and experiment files: up to date, and as strict as the program where they can be."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mtnat.cli import main
from mtnat.config import build, leaf_types, read_yaml
from mtnat.errors import ConfigError
from mtnat.experiment import Experiment
from mtnat.lab.study.draft import SCHEMAS
from mtnat.lab.study.reading import read_study
from mtnat.lab.study.record import FIXED, LEAVES, Study
from mtnat.lab.study.schema import experiment_schema, schema_text, study_schema
from mtnat.lab.study.space_reading import path_problem

ROOT = Path(__file__).parents[3]
STUDIES = sorted((ROOT / "studies").rglob("*.yaml"))
STUDY = jsonschema.Draft7Validator(study_schema())
EXPERIMENT = jsonschema.Draft7Validator(experiment_schema())
KIND, EXPONENT = "objective.schedule.kind", "objective.schedule.exponent"
GOOD: dict[str, Any] = {
    "question": "Which?",
    "experiment": {
        "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300},
        "training": {"steps": 20, "warmup_steps": 5},
    },
    "baselines": {"linear": {}},
    "search": {EXPONENT: {"float": [0.25, 4.0], "log": True, "when": {KIND: "power"}}, KIND: {"choice": ["linear", "power"]}},
    "trials": 4,
    "confirm": {"top": 2, "seeds": [2, 3, 4], "against": "linear"},
}


def changed(path: str, value: object) -> dict[str, Any]:
    """The good study with the setting at a path, whose names are separated by slashes, replaced."""
    data = deepcopy(GOOD)
    *parents, leaf = path.split("/")
    node = data
    for name in parents:
        node = node.setdefault(name, {})
    node[leaf] = value
    return data


@pytest.mark.parametrize("kind", ["study", "experiment"])
def test_the_schemas_of_the_package_are_those_of_the_records(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """After a change of a record: mtnat schema study > mtnat/schemas/study.schema.json, and likewise for experiment."""
    assert main(["schema", kind]) == 0
    assert (SCHEMAS / f"{kind}.schema.json").read_text(encoding="utf-8") == capsys.readouterr().out


@pytest.mark.parametrize("file", STUDIES, ids=[file.stem for file in STUDIES])
def test_every_study_file_is_valid_and_names_its_schema(file: Path) -> None:
    study = read_yaml(file)
    STUDY.validate(study)
    EXPERIMENT.validate(study["experiment"])
    first = file.read_text(encoding="utf-8").splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (file.parent / named).resolve() == SCHEMAS / "study.schema.json"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("experiment/decoding", {"beam": 4}),
        ("experiment", GOOD["experiment"] | {"system": {"kind": "ctc"}, "decoding": {"prefix_beam": 4}}),
        ("experiment/system", {}),
        ("experiment/system", {"kind": "glat", "start_ratio": 0.4}),
        ("experiment/training/adam_betas", [0.9, 0.99]),
        ("baselines/other", {"objective.schedule": {"kind": "piecewise", "knots": [[0.0, 0.0], [1.0, 1.0]]}}),
        ("baselines/other", {"data.distilled": None, "model.width": 16, "decoding": {"length_candidates": 2}}),
        ("columns/de-en", {"data.corpus": "grammar-de-en"}),
        ("search/training.steps", {"int": [20, 40], "step": 10}),
        ("search/training.clip_norm", {"int": [1, 3]}),
        ("search/objective.schedule", {"choice": [{"kind": "cosine"}, {"kind": "power", "exponent": 2}]}),
        ("search/model.shared_decoder_layers", {"choice": [True, False], "when": {KIND: ["linear", "power"]}}),
        ("resources", {"workers": [1, 4], "gpus_per_worker": 1}),
        ("metrics", [{"valid.bleu": "max"}, {"decode.seconds": "min"}]),
        ("teacher", {"settings": {"objective.schedule": {"kind": "constant", "value": 0.0}}, "beam": 4}),
        ("teacher", {"model": "outputs/teacher/best"}),
        ("rejuvenation", {}),
        ("rejuvenation", {"settings": {"model.width": 16}, "model": "outputs/teacher/best", "inactive": 0.2}),
        ("published", {"source": "Table 2", "bleu": {"linear": {"en-de": 24.7}}}),
    ],
)
def test_what_the_program_accepts_is_valid(path: str, value: object) -> None:
    build(Study, changed(path, value))
    STUDY.validate(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("qestion", "?"),
        ("question", ""),
        ("trials", "four"),
        ("trials", -1),
        ("metric", "test.bleu"),
        ("metrics", [{"valid.bleu": "max"}]),
        ("metrics", [{"decode.seconds": "min"}, {"valid.bleu": "max"}]),
        ("metrics", [{"valid.bleu": "max"}, {"decode.second": "min"}]),
        ("metrics", [{"valid.bleu": "max"}, {"decode.seconds": "min", "train.seconds": "min"}]),
        ("experiment/model", {"widht": 8}),
        ("experiment/model", {"width": 4}),
        ("experiment/model", {"norm": "mid"}),
        ("experiment/data", {"vocabulary_size": 100}),
        ("experiment/data", {"train": ["a.en", "a.de"]}),
        ("experiment/data/train", ["a.en"]),
        ("experiment/seed", True),
        ("experiment/seed", 2**31),
        ("experiment/system", {"kind": "glatt"}),
        ("experiment/system", {"start_ratio": 0.5}),
        ("experiment/objective", {"schedule": {"kind": "linear", "exponent": 2}}),
        ("experiment/objective", {"schedule": {"exponent": 2}}),
        ("experiment/objective", {"schedule": {"kind": "piecewise"}}),
        ("experiment/decoding", {"kind": "ctc", "iterations": 4}),
        ("experiment/decoding", {"iterations": 0}),
        ("experiment/training/steps", 10.5),
        ("experiment/training/adam_betas", [0.9]),
        ("baselines/linear", {"model.widht": 8}),
        ("baselines/linear", {"model.width": 3}),
        ("baselines/linear", {"seed": 2}),
        ("baselines/linear", {"data.corpus": "grammar-de-en"}),
        ("baselines/linear", {KIND: "liner"}),
        ("columns/one", {"seed": 2}),
        ("teacher", {"settings": {"model.heads": "four"}}),
        ("rejuvenation", {"settings": {"model.heads": "four"}}),
        ("rejuvenation", {"inactive": 1.0}),
        ("search/model.widht", {"int": [8, 16]}),
        ("search/data.test", {"choice": [1]}),
        ("search/model.width", {"ints": [8, 16]}),
        ("search/model.width", {"int": [2, 16]}),
        ("search/model.width", {"int": [8, 16.5]}),
        ("search/model.width", {"float": [8.0, 16.0]}),
        ("search/model.width", {"int": [8]}),
        ("search/model.width", {"int": [8, 16], "choice": [8, 16]}),
        ("search/model.width", {"int": [8, 16], "lg": True}),
        ("search/model.width", {"choice": [8, 16], "log": True}),
        ("search/model.norm", {"choice": ["pre", "mid"]}),
        ("search/model.norm", {"choice": ["pre", "pre"]}),
        ("search/model.norm", {"choice": []}),
        ("search/model.norm", ["pre", "post"]),
        (f"search/{EXPONENT}/when", {"model.norms": "pre"}),
        (f"search/{EXPONENT}/when", {KIND: "powr"}),
        (f"search/{EXPONENT}/step", 0),
        ("confirm/seeds", []),
        ("confirm/seeds", [2, 2]),
        ("confirm/seeds", [-1]),
        ("confirm", {"seeds": [2]}),
        ("pruner", {"kind": "hyberband", "first_step": 10}),
        ("pruner", {"kind": "asha"}),
        ("horizon", {"steps": [20]}),
        ("horizon", {"steps": [10, 20], "keep": 0}),
        ("sampler", {"kind": "cma-es"}),
        ("resources", {"workers": 0}),
        ("resources", {"workers": [1]}),
        ("resources", {"launcher": "ray"}),
        ("budget", {"hours": 0}),
        ("warm_start", "outputs/x"),
    ],
)
def test_what_the_schema_refuses_is_refused_by_the_program(path: str, value: object, tmp_path: Path) -> None:
    data = changed(path, value)
    assert not STUDY.is_valid(data)
    (tmp_path / "x.yaml").write_text(json.dumps(data))
    with pytest.raises(ConfigError):
        read_study(tmp_path / "x.yaml")


def test_every_setting_that_a_trial_may_change_has_a_property() -> None:
    schema = study_schema()
    paths = {path for path in LEAVES if not path_problem(path, LEAVES, FIXED, "")}
    assert set(schema["definitions"]["TrialSettings"]["properties"]) == paths
    assert set(schema["properties"]["search"]["properties"]) == paths
    assert set(leaf_types(Experiment)) - paths >= {"seed", "data", "data.corpus"}


def described(schema: object, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yields the path and the description of each property, empty if it has none."""
    if isinstance(schema, dict):
        for name, inner in schema.get("properties", {}).items():
            yield (*names, name), inner.get("description", "reference" if "$ref" in inner or "anyOf" in inner else "")
        for name, inner in schema.items():
            yield from described(inner, (*names, name))


def test_every_description_is_plain_text() -> None:
    found = list(described(study_schema()))
    assert [names for names, text in found if not text or "`" in text or "\n" in text] == []
    assert schema_text(study_schema()).endswith("}\n")
