"""The README agrees with the records about settings."""

import re
from pathlib import Path

import pytest
from pydantic_core import PydanticUndefined

from mtnat.config import Record, build, leaf_types, read_value
from mtnat.corpora import CORPORA, CleanOptions
from mtnat.corpora.clean import RULES
from mtnat.decoding import Decoding, MaskPredictDecoding
from mtnat.experiment import Experiment
from mtnat.objective.config import ObjectiveConfig
from mtnat.systems import MaskPredict, System
from mtnat.systems.registry import BUILT_IN, kind_of

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def rows(part: str) -> dict[str, str]:
    """Returns the table behind a line that begins with `experiment.PART`: default by setting."""
    table = README.split(f"`experiment.{part}", 1)[1].split("\n\n", 2)[1]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", table, re.MULTILINE))


def shown(default: object) -> str:
    if isinstance(default, Record):
        return f"{{kind: {default.model_dump()['kind']}}}"
    if isinstance(default, tuple):
        return str(list(default))
    return "none" if default is None else str(default).lower() if isinstance(default, bool) else str(default)


def defaults(record: type[Record], inherited: type[Record] = Record) -> dict[str, str]:
    fields = {name: field.default for name, field in record.model_fields.items() if name not in inherited.model_fields}
    assert PydanticUndefined not in fields.values()
    return {name: shown(default) for name, default in fields.items() if name != "kind"}


@pytest.mark.parametrize("part", ["data", "model", "objective", "training"])
def test_the_readme_lists_every_setting_with_its_default(part: str) -> None:
    (record,) = leaf_types(Experiment)[part]
    assert rows(f"{part}`:") == defaults(record)


@pytest.mark.parametrize("system", [system for system in BUILT_IN if len(system.model_fields) > 1])
def test_the_readme_lists_every_setting_of_a_system(system: type[System]) -> None:
    assert rows(f"system` of kind `{kind_of(system)}`") == defaults(system)


def test_the_readme_lists_every_kind_of_system() -> None:
    table = README.split("| `system` | NAT branch |", 1)[1].split("\n\n", 1)[0]
    assert re.findall(r"^\| `\{kind: ([\w-]+)\}`", table, re.MULTILINE) == [kind_of(system) for system in BUILT_IN]


@pytest.mark.parametrize("decoding", dict.fromkeys(kind for system in BUILT_IN for kind in system.decodings))
def test_the_readme_lists_every_setting_of_decoding(decoding: type[Decoding]) -> None:
    assert rows("decoding`, of every kind") == defaults(Decoding)
    assert rows(f"decoding` of kind `{kind_of(decoding)}`") == defaults(decoding, Decoding)


def test_the_readme_lists_the_presets_with_their_settings() -> None:
    table = README.split("| preset | settings |", 1)[1].split("\n\n", 1)[0]
    named = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", table, re.MULTILINE))
    told = {name: read_value("\n".join(re.findall(r"`(.+?)`", settings)), name) for name, settings in named.items()}
    assert told == MaskPredictDecoding.presets


def test_the_readme_lists_every_schedule() -> None:
    table = README.split("| kind | settings (default) |", 1)[1].split("\n\n", 1)[0]
    named = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    assert named == [annotation.__args__[0] for annotation in leaf_types(ObjectiveConfig)["schedule.kind"]]


def test_the_readme_lists_every_corpus() -> None:
    table = README.split("| corpus | train |", 1)[1].split("\n\n", 1)[0]
    first_cells = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    assert re.findall("`(.+?)`", " ".join(first_cells)) == list(CORPORA)


def test_the_readme_lists_the_cleaning_rules_with_their_defaults() -> None:
    table = README.split("| rule | drops pairs |", 1)[1].split("\n\n", 1)[0]
    assert tuple(re.findall(r"^\| (\w+) \|", table, re.MULTILINE)) == RULES
    options = CleanOptions()
    assert re.findall(r"\((\d+)\)", table) == [f"{options.max_words}", f"{options.max_ratio:g}"]


def test_the_trained_branches_match_the_table_of_the_readme() -> None:
    table = README.split("| trained branches | `objective` |", 1)[1].split("\n\n", 1)[0]
    values = re.findall(r"kind: (\w+)(?:, value: ([\d.]+))?\}", table)
    objectives = [
        build(ObjectiveConfig, {"schedule": {"kind": kind} | ({"value": float(value)} if value else {})})
        for kind, value in values
    ]
    trained = [MaskPredict().trained(objective) for objective in objectives]
    assert trained == [("at",), ("nat",), ("at", "nat"), ("at", "nat")]
