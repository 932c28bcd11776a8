"""The pages of docs/ agree with the records about settings."""

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic_core import PydanticUndefined

from mtnat.config import Record, build, leaf_types, read_value
from mtnat.corpora import CORPORA, CleanOptions
from mtnat.corpora.clean import RULES
from mtnat.decoding import Decoding, MaskPredictDecoding
from mtnat.experiment import Experiment
from mtnat.lab.study.analysing import ProbingInTheEnd, SimilarityOverTraining
from mtnat.lab.study.record import Confirm, Study
from mtnat.lab.study.resources import Resources
from mtnat.lab.study.searching import Sampler
from mtnat.objective.config import ObjectiveConfig
from mtnat.systems import MaskPredict, System
from mtnat.systems.registry import BUILT_IN, kind_of

DOCS = Path(__file__).parent.parent / "docs"


def table(page: str, start: str, after: int = 0) -> str:
    """Returns the table of a page behind some words; `after` is the number of paragraphs between them."""
    return (DOCS / page).read_text(encoding="utf-8").split(start, 1)[1].split("\n\n", after + 1)[after]


def rows(part: str) -> dict[str, str]:
    """Returns the table behind a line that begins with `experiment.PART`: default by setting."""
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", table("settings.md", f"`experiment.{part}", 1), re.MULTILINE))


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
def test_the_docs_list_every_setting_with_its_default(part: str) -> None:
    (record,) = leaf_types(Experiment)[part]
    assert rows(f"{part}`:") == defaults(record)


@pytest.mark.parametrize("system", [system for system in BUILT_IN if len(system.model_fields) > 1])
def test_the_docs_list_every_setting_of_a_system(system: type[System]) -> None:
    assert rows(f"system` of kind `{kind_of(system)}`") == defaults(system)


def test_the_docs_list_every_kind_of_system() -> None:
    found = table("systems.md", "| `system` | NAT branch |")
    assert re.findall(r"^\| `\{kind: ([\w-]+)\}`", found, re.MULTILINE) == [kind_of(system) for system in BUILT_IN]


@pytest.mark.parametrize("decoding", dict.fromkeys(kind for system in BUILT_IN for kind in system.decodings))
def test_the_docs_list_every_setting_of_decoding(decoding: type[Decoding]) -> None:
    assert rows("decoding`, of every kind") == defaults(Decoding)
    assert rows(f"decoding` of kind `{kind_of(decoding)}`") == defaults(decoding, Decoding)


def test_the_docs_list_the_presets_with_their_settings() -> None:
    found = table("decoding.md", "| preset | settings |")
    named = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", found, re.MULTILINE))
    told = {name: read_value("\n".join(re.findall(r"`(.+?)`", settings)), name) for name, settings in named.items()}
    assert told == MaskPredictDecoding.presets


def test_the_docs_list_every_schedule() -> None:
    found = table("schedules-and-losses.md", "| kind | settings (default) |")
    named = re.findall(r"^\| `(\w+)`", found, re.MULTILINE)
    assert named == [annotation.__args__[0] for annotation in leaf_types(ObjectiveConfig)["schedule.kind"]]


def test_the_docs_list_every_corpus() -> None:
    found = table("your-own-corpus.md", "| corpus | train |")
    first_cells = re.findall(r"^\| (`.+?) \|", found, re.MULTILINE)
    assert re.findall("`(.+?)`", " ".join(first_cells)) == list(CORPORA)


def test_the_docs_list_the_cleaning_rules_with_their_defaults() -> None:
    found = table("your-own-corpus.md", "| rule | drops pairs |")
    assert tuple(re.findall(r"^\| (\w+) \|", found, re.MULTILINE)) == RULES
    options = CleanOptions()
    assert re.findall(r"\((\d+)\)", found) == [f"{options.max_words}", f"{options.max_ratio:g}"]


def test_the_trained_branches_match_the_table_of_the_docs() -> None:
    found = table("schedules-and-losses.md", "| trained branches | `objective` |")
    values = re.findall(r"kind: (\w+)(?:, value: ([\d.]+))?\}", found)
    objectives = [
        build(ObjectiveConfig, {"schedule": {"kind": kind} | ({"value": float(value)} if value else {})})
        for kind, value in values
    ]
    trained = [MaskPredict().trained(objective) for objective in objectives]
    assert trained == [("at",), ("nat",), ("at", "nat"), ("at", "nat")]


def test_the_docs_list_every_field_of_a_study_file() -> None:
    page = (DOCS / "study-file.md").read_text(encoding="utf-8")
    found = {
        name for rows in page.split("| field | meaning |")[1:] for name in re.findall(r"^\| `([\w.]+)` \|", rows, re.MULTILINE)
    }
    parts: dict[str, type[Record]] = {"confirm": Confirm, "resources": Resources}
    inside: dict[str, type[Record]] = {"analysis.similarity": SimilarityOverTraining, "analysis.probing": ProbingInTheEnd}
    fields = {f"{name}.{field}" for name, part in (parts | inside).items() for field in part.model_fields}
    assert found >= (Study.model_fields.keys() - parts.keys()) | fields | {"analysis.every"}


def test_the_docs_list_every_sampler() -> None:
    found = table("study-file.md", "| `sampler.kind` | proposes |")
    assert tuple(re.findall(r"^\| `(\w+)` \|", found, re.MULTILINE)) == get_args(Sampler.model_fields["kind"].annotation)
