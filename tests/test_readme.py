"""What the README says of settings is what the records say."""

import re
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from mtnat.config import Record, build, leaf_types, read_value
from mtnat.corpora import CORPORA, CleanOptions
from mtnat.corpora.clean import RULES
from mtnat.decoding import PRESETS
from mtnat.experiment import Experiment
from mtnat.objective.config import ObjectiveConfig

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def rows(part: str) -> dict[str, str]:
    """The table of one part of the experiment: default by setting."""
    table = README.split(f"`experiment.{part}`:\n\n", 1)[1].split("\n\n", 1)[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", table, re.MULTILINE))


def shown(default: object) -> str:
    if isinstance(default, Record):
        return f"{{kind: {default.model_dump()['kind']}}}"
    if isinstance(default, tuple):
        return str(list(default))
    return "none" if default is None else str(default).lower() if isinstance(default, bool) else str(default)


@pytest.mark.parametrize("part", ["data", "model", "objective", "training", "decoding"])
def test_every_setting_stands_there_with_its_default(part: str) -> None:
    (record,) = leaf_types(Experiment)[part]
    fields = {name: field.default for name, field in record.model_fields.items()}
    assert PydanticUndefined not in fields.values()
    assert rows(part) == {name: shown(default) for name, default in fields.items()}


def test_the_presets_stand_there() -> None:
    table = README.split("| preset | settings |", 1)[1].split("\n\n", 1)[0]
    named = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", table, re.MULTILINE))
    told = {name: read_value("\n".join(re.findall(r"`(.+?)`", settings)), name) for name, settings in named.items()}
    assert told == PRESETS


def test_every_schedule_stands_there() -> None:
    table = README.split("| kind | settings (default) |", 1)[1].split("\n\n", 1)[0]
    named = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    assert named == [annotation.__args__[0] for annotation in leaf_types(ObjectiveConfig)["schedule.kind"]]


def test_every_corpus_stands_there() -> None:
    table = README.split("| corpus | train |", 1)[1].split("\n\n", 1)[0]
    first_cells = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    assert re.findall("`(.+?)`", " ".join(first_cells)) == list(CORPORA)


def test_the_rules_of_cleaning_stand_there_with_their_defaults() -> None:
    table = README.split("| rule | drops pairs |", 1)[1].split("\n\n", 1)[0]
    assert tuple(re.findall(r"^\| (\w+) \|", table, re.MULTILINE)) == RULES
    options = CleanOptions()
    assert re.findall(r"\((\d+)\)", table) == [f"{options.max_words}", f"{options.max_ratio:g}"]


def test_the_systems_are_what_the_table_says() -> None:
    table = README.split("| system | `objective` |", 1)[1].split("\n\n", 1)[0]
    values = re.findall(r"kind: (\w+)(?:, value: ([\d.]+))?\}", table)
    objectives = [
        build(ObjectiveConfig, {"schedule": {"kind": kind} | ({"value": float(value)} if value else {})})
        for kind, value in values
    ]
    assert [(objective.trains_at, objective.trains_nat) for objective in objectives] == [
        (True, False),
        (False, True),
        (True, True),
        (True, True),
    ]
