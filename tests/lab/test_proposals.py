"""Optuna behind the proposer's port, on a real journal."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from mtnat.config import build, replace
from mtnat.experiment import Experiment
from mtnat.lab.proposals import OptunaProposer
from mtnat.lab.space import Space, parse_space
from mtnat.lab.study import FIXED, LEAVES, Settings

KIND, EXPONENT = "objective.schedule.kind", "objective.schedule.exponent"
BASE = build(Experiment, {"data": {"corpus": "grammar-en-de"}, "training": {"steps": 20, "warmup_steps": 5}})


def space(**changes: Any) -> Space:
    searches = {
        EXPONENT: {"float": [0.25, 4.0], "log": True, "when": {KIND: "power"}},
        KIND: {"choice": ["linear", "power"]},
        "model.width": {"int": [64, 256], "step": 64},
    }
    parsed, problems = parse_space(searches | changes, LEAVES, FIXED)
    assert not problems
    return parsed


def proposer(journal: Path, space: Space) -> OptunaProposer:
    return OptunaProposer(space, journal, seed=1, trials=20)


def states(journal: Path) -> list[TrialState]:
    storage = JournalStorage(JournalFileBackend(str(journal)))
    return [trial.state for trial in optuna.load_study(study_name="study", storage=storage).trials]


def anything(settings: Settings) -> bool:
    return True


def test_proposals_lie_in_the_space_and_respect_conditions(tmp_path: Path) -> None:
    optuna_ = proposer(tmp_path / "journal", space())
    for number in range(20):
        settings = optuna_.ask(f"t{number}", anything)
        assert settings is not None
        assert settings[KIND] in ("linear", "power")
        assert settings["model.width"] in (64, 128, 192, 256)
        assert (EXPONENT in settings) == (settings[KIND] == "power")
        assert 0.25 <= settings.get(EXPONENT, 1.0) <= 4.0
        optuna_.tell(f"t{number}", [number] if number % 3 else None)


def test_equal_seeds_propose_equally(tmp_path: Path) -> None:
    first, second = (proposer(tmp_path / name, space()) for name in "ab")
    assert [first.ask(str(n), anything) for n in range(5)] == [second.ask(str(n), anything) for n in range(5)]


def test_a_journal_survives(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    before = proposer(journal, space())
    made = {name: before.ask(name, anything) for name in ("a", "b")}
    before.tell("a", [3.0])
    with journal.open("ab") as file:
        file.write(b'{"op_code": 4, "wor')  # a kill in the middle of a line
    after = proposer(journal, space())
    assert after.known() == made
    after.tell("a", [5.0])  # told before
    after.tell("b", None)
    assert after.ask("c", anything) != made["a"]
    assert states(journal) == [TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING]


def test_an_exhausted_space_says_so(tmp_path: Path) -> None:
    two, _ = parse_space({"model.norm": {"choice": ["pre", "post"]}}, LEAVES, FIXED)
    optuna_ = proposer(tmp_path / "journal", two)
    made: list[Settings] = []
    for name in "ab":
        settings = optuna_.ask(name, lambda settings: settings not in made)
        assert settings
        made.append(settings)
    assert sorted(settings["model.norm"] for settings in made) == ["post", "pre"]
    assert optuna_.ask("c", lambda settings: settings not in made) is None


@pytest.mark.parametrize(
    ("settings", "is_told"),
    [
        ({KIND: "linear", "model.width": 128}, True),
        ({KIND: "power", EXPONENT: 0.5, "model.width": 128}, True),
        ({KIND: "power", EXPONENT: 8.0, "model.width": 128}, False),  # beyond the range
        ({KIND: "linear", "model.width": 96}, False),  # between two steps
        ({KIND: "cosine", "model.width": 128}, False),  # no choice
        ({KIND: "linear", "model.width": 128, "model.dropout": 0.0}, False),  # differs where nothing is searched
    ],
)
def test_a_baseline_counts_where_the_search_could_have_proposed_it(tmp_path: Path, settings: Settings, is_told: bool) -> None:
    journal = tmp_path / "journal"
    optuna_ = proposer(journal, space())
    for _ in range(2):
        assert optuna_.tell_known("b", replace(BASE, settings), BASE, [12.0]) == is_told
    assert states(journal) == ([TrialState.COMPLETE] if is_told else [])
    assert optuna_.known() == {}


def test_choices_that_optuna_cannot_keep(tmp_path: Path) -> None:
    lists, problems = parse_space({"training.adam_betas": {"choice": [[0.9, 0.98], [0.9, 0.999]]}}, LEAVES, FIXED)
    assert not problems
    settings = proposer(tmp_path / "journal", lists).ask("a", anything)
    assert settings
    assert settings["training.adam_betas"] in ([0.9, 0.98], [0.9, 0.999])
