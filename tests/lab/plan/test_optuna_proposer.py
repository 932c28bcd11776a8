"""`OptunaProposer` on a real journal file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from mtnat.config import build, replace
from mtnat.experiment import Experiment
from mtnat.lab.plan.optuna_proposer import OptunaProposer
from mtnat.lab.plan.proposer import Proposer
from mtnat.lab.study.record import FIXED, LEAVES, Settings
from mtnat.lab.study.searching import Direction, Pruner, Sampler
from mtnat.lab.study.space import Space
from mtnat.lab.study.space_reading import parse_space
from mtnat.testing.proposer_contract import SPACE, ProposerContract

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


def proposer(
    journal: Path,
    space: Space,
    kind: str = "tpe",
    *,
    seed: int = 1,
    startup: int = 3,
    directions: Sequence[Direction] = ("max",),
    pruner: Pruner | None = None,
) -> OptunaProposer:
    sampler = build(Sampler, {"kind": kind, "startup_trials": startup})
    return OptunaProposer(
        space, journal, sampler=sampler, seed=seed, trials=20, directions=directions, pruner=pruner, total_steps=900
    )


def trials(journal: Path) -> list[FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(journal)))
    return optuna.load_study(study_name="study", storage=storage).trials


def states(journal: Path) -> list[TrialState]:
    return [trial.state for trial in trials(journal)]


def anything(settings: Settings) -> bool:
    return True


class TestContract(ProposerContract):
    @pytest.fixture(params=["tpe", "random", "qmc", "grid", "median"])
    def reopen(self, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], Proposer]:
        """Several kinds of sampler, and a sampler with a pruner."""
        parsed, _ = parse_space(SPACE, LEAVES, FIXED)
        pruner = build(Pruner, {"kind": "median", "first_step": 5}) if request.param == "median" else None
        kind = "tpe" if pruner else request.param
        return lambda: proposer(tmp_path / "journal", parsed, kind, pruner=pruner)


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


def test_equal_seeds_give_equal_proposals(tmp_path: Path) -> None:
    first, second = (proposer(tmp_path / name, space()) for name in "ab")
    assert [first.ask(str(n), anything) for n in range(5)] == [second.ask(str(n), anything) for n in range(5)]


def test_proposals_and_scores_survive_a_journal_with_a_truncated_last_line(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    before = proposer(journal, space())
    made = {name: before.ask(name, anything) for name in ("a", "b")}
    before.tell("a", [3.0])
    with journal.open("ab") as file:
        file.write(b'{"op_code": 4, "wor')  # a kill in the middle of a line
    after = proposer(journal, space())
    assert after.known() == made
    after.tell("a", [5.0])  # reported before
    after.tell("b", None)
    assert after.ask("c", anything) != made["a"]
    assert states(journal) == [TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING]


def test_asking_an_exhausted_space_returns_none(tmp_path: Path) -> None:
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
def test_a_baseline_is_recorded_only_if_the_search_could_have_proposed_it(
    tmp_path: Path, settings: Settings, is_told: bool
) -> None:
    journal = tmp_path / "journal"
    optuna_ = proposer(journal, space())
    for _ in range(2):
        assert optuna_.tell_known("b", replace(BASE, settings), BASE, [12.0]) == is_told
    assert states(journal) == ([TrialState.COMPLETE] if is_told else [])
    assert optuna_.known() == {}


def test_choices_may_be_lists_although_optuna_cannot_store_lists(tmp_path: Path) -> None:
    lists, problems = parse_space({"training.adam_betas": {"choice": [[0.9, 0.98], [0.9, 0.999]]}}, LEAVES, FIXED)
    assert not problems
    settings = proposer(tmp_path / "journal", lists).ask("a", anything)
    assert settings
    assert settings["training.adam_betas"] in ([0.9, 0.98], [0.9, 0.999])


def score(settings: Settings) -> float:
    """Something to learn: width helps, an exponent near 2 helps."""
    return float(settings["model.width"] / 10 - abs(settings.get(EXPONENT, 1.0) - 2.0))


class Interrupted:
    """A study that is killed before each proposal, in the middle of a draw, and resumed."""

    def __init__(self, journal: Path, make: Callable[[], OptunaProposer]) -> None:
        self._journal, self._make = journal, make

    def __call__(self) -> OptunaProposer:
        proposer = self._make()
        with pytest.raises(KeyboardInterrupt):
            proposer.ask("lost", _killed)  # drawn, but not yet a proposal
        with self._journal.open("ab") as file:
            file.write(b'{"op_code": 4, "wor')
        return self._make()


def _killed(settings: Settings) -> bool:
    raise KeyboardInterrupt


def carried_out(next_proposer: Callable[[], OptunaProposer], metrics: int, trials: int = 8) -> list[Settings]:
    """A small study, one trial at a time: equal proposals are refused, one trial fails, a baseline ends in between."""
    made: list[Settings] = []
    for number in range(trials):
        proposer = next_proposer()
        if number == 2:
            proposer.tell_known("baseline", replace(BASE, {"model.width": 64}), BASE, [10.0] * metrics)
        settings = proposer.ask(f"t{number}", lambda settings: settings not in made and settings["model.width"] != 192)
        assert settings
        made.append(settings)
        proposer.tell(f"t{number}", None if number == 3 else [score(settings), number][:metrics])
    return made


CONTINUOUS = {"training.peak_learning_rate": {"float": [1e-4, 1e-2], "log": True}, "model.dropout": {"float": [0.0, 0.5]}}


@pytest.mark.parametrize(
    ("kind", "metrics"),
    [(kind, metrics) for kind in ("tpe", "random", "qmc", "grid") for metrics in (1, 2)]
    + [("cmaes", 1), pytest.param("gp", 1, marks=pytest.mark.slow), pytest.param("gp", 2, marks=pytest.mark.slow)],
)
def test_a_proposal_depends_only_on_the_seed_and_earlier_trials(tmp_path: Path, kind: str, metrics: int) -> None:
    searches = {EXPONENT: {"float": [0.25, 4.0], "step": 0.25, "when": {KIND: "power"}}} if kind == "grid" else CONTINUOUS
    directions: Sequence[Direction] = ["max", "min"]

    def begin(name: str, seed: int = 1) -> OptunaProposer:
        return proposer(tmp_path / name, space(**searches), kind, seed=seed, directions=directions[:metrics])

    trials = 6 if kind == "gp" else 8  # three are random, and a proposal of gp takes seconds
    at_once = begin("a")
    undisturbed = carried_out(lambda: at_once, metrics, trials)
    assert carried_out(Interrupted(tmp_path / "b", lambda: begin("b")), metrics, trials) == undisturbed
    other = begin("c", seed=2)
    assert (carried_out(lambda: other, metrics, trials) == undisturbed) == (kind == "grid")
    assert len({str(settings) for settings in undisturbed}) == len(undisturbed)


@pytest.mark.parametrize("kind", ["tpe", "qmc"])
def test_a_draw_interrupted_by_a_kill_is_repeated(tmp_path: Path, kind: str) -> None:
    whole = proposer(tmp_path / "whole", space(), kind)
    proposals = [whole.ask(str(number), lambda settings: settings["model.width"] != 128) for number in range(5)]
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    for count in range(1, len(lines)):  # killed after each of its lines
        journal = tmp_path / str(count)
        journal.write_bytes(b"".join(lines[:count]))
        after = proposer(journal, space(), kind)
        known = list(after.known().values())
        assert known == proposals[: len(known)]
        assert after.ask("next", lambda settings: settings["model.width"] != 128) == proposals[len(known)]
        assert states(journal).count(TrialState.RUNNING) == len(known) + 1  # and no draw without a name


STEPS = {EXPONENT: {"float": [0.1, 0.3], "step": 0.1, "when": {KIND: "power"}}, "model.width": {"int": [64, 65]}}


class TestGrid:
    def test_the_grid_proposes_every_combination_once_and_in_order(self, tmp_path: Path) -> None:
        grid = proposer(tmp_path / "journal", space(**STEPS), "grid")
        made = [settings for number in range(20) if (settings := grid.ask(str(number), anything))]
        widths = {"model.width": 64}, {"model.width": 65}
        assert made == [{KIND: "linear"} | width for width in widths] + [
            {KIND: "power", EXPONENT: exponent} | width for width in widths for exponent in (0.1, 0.2, 0.3)
        ]
        assert proposer(tmp_path / "journal", space(**STEPS), "grid").ask("more", anything) is None

    def test_the_grid_skips_refused_combinations(self, tmp_path: Path) -> None:
        grid = proposer(tmp_path / "journal", space(**STEPS), "grid")
        made = [grid.ask(str(number), lambda settings: settings["model.width"] == 65) for number in range(5)]
        assert [settings and settings.get(EXPONENT) for settings in made] == [None, 0.1, 0.2, 0.3, None]
        assert made[4] is None


class TestPruner:
    """Trials whose score rises by their own factor a step; validated every 100 of 900 steps."""

    def report(
        self, optuna_: OptunaProposer, name: str, factor: float, steps: Sequence[int] = range(100, 901, 100)
    ) -> int | None:
        """The step at which the trial is pruned, if it is."""
        return next((step for step in steps if optuna_.report(name, step, factor * step)), None)

    def begin(self, journal: Path, kind: str, **changes: Any) -> OptunaProposer:
        pruner = build(Pruner, {"kind": kind, "first_step": 200} | changes)
        optuna_ = proposer(journal, space(), "random", pruner=pruner)
        for name in "abcdef":
            if name not in optuna_.known():
                optuna_.ask(name, anything)
        return optuna_

    def test_asha_prunes_the_worse_trials_at_its_rungs(self, tmp_path: Path) -> None:
        asha = self.begin(tmp_path / "journal", "asha", factor=2)
        ended = {name: self.report(asha, name, factor) for name, factor in zip("abcdef", (3, 1, 2, 9, 8, 7), strict=True)}
        assert ended["a"] is None  # the first trial, with no other to compare it with
        assert ended["d"] is None  # the best
        assert ended["b"] == 200
        assert set(ended.values()) <= {None, 200, 400, 800}

    def test_asha_rungs_survive_reopening_the_journal(self, tmp_path: Path) -> None:
        journal = tmp_path / "journal"
        assert self.report(self.begin(journal, "asha"), "a", 5, [100, 200]) is None
        assert self.report(self.begin(journal, "asha"), "b", 4, [100, 200]) == 200
        assert self.report(self.begin(journal, "asha"), "c", 6, [100, 200]) is None

    def test_reporting_a_step_twice_changes_nothing(self, tmp_path: Path) -> None:
        journal = tmp_path / "journal"
        asha = self.begin(journal, "asha")
        assert self.report(asha, "a", 5, [100, 200, 300]) is None
        assert self.report(asha, "b", 4, [100, 200]) == 200
        again = self.begin(journal, "asha")  # both went on from a checkpoint at step 100
        assert self.report(again, "a", 5, [200, 300]) is None
        assert not again.report("b", 100, 400)
        assert again.report("b", 200, 800)
        values = [trial.intermediate_values for trial in trials(journal)]
        assert values[:2] == [{100: 500, 200: 1000, 300: 1500}, {100: 400, 200: 800}]

    def test_a_pruned_trial_is_stored_as_pruned_in_optuna(self, tmp_path: Path) -> None:
        journal = tmp_path / "journal"
        asha = self.begin(journal, "asha")
        self.report(asha, "a", 5)
        asha.tell("a", [4500])
        assert self.report(asha, "b", 4) == 200
        for _ in range(2):
            asha.tell("b", [800], pruned=True)
        assert [(trial.state, trial.value) for trial in trials(journal)[:2]] == [
            (TrialState.COMPLETE, 4500),
            (TrialState.PRUNED, 800),
        ]

    def test_median_prunes_the_lower_half_after_its_startup_trials(self, tmp_path: Path) -> None:
        median = self.begin(tmp_path / "journal", "median", startup_trials=3)
        for name, factor in zip("abc", (1, 2, 3), strict=True):
            assert self.report(median, name, factor) is None
            median.tell(name, [factor * 900])
        assert self.report(median, "d", 1.5) == 200
        assert self.report(median, "e", 2.5) is None

    def test_hyperband_brackets_begin_at_several_steps(self, tmp_path: Path) -> None:
        hyperband = self.begin(tmp_path / "journal", "hyperband", factor=2)
        for number in range(40):
            hyperband.ask(str(number), anything)
        ended = [self.report(hyperband, str(number), 40 - number) for number in range(40)]
        assert {200, 400, 800} <= set(ended)
        assert 100 not in ended


class TestSeveralMetrics:
    @pytest.mark.parametrize("kind", ["tpe", "random", "qmc", "grid"])
    def test_optuna_computes_the_front_of_several_metrics(self, tmp_path: Path, kind: str) -> None:
        steps = {EXPONENT: {"float": [0.5, 4.0], "step": 0.5, "when": {KIND: "power"}}}
        optuna_ = proposer(tmp_path / "journal", space(**steps), kind, directions=("max", "min"))
        for number in range(8):
            assert optuna_.ask(str(number), anything)
            optuna_.tell(str(number), [number % 4, 1.0 + number])
        assert optuna_.tell_known("baseline", replace(BASE, {"model.width": 64}), BASE, [3.0, 2.5])
        study = optuna.load_study(study_name="study", storage=JournalStorage(JournalFileBackend(str(tmp_path / "journal"))))
        assert sorted(trial.values for trial in study.best_trials) == [[0.0, 1.0], [1.0, 2.0], [3.0, 2.5]]


def test_a_baseline_that_equals_a_choice_of_a_whole_part_is_recorded(tmp_path: Path) -> None:
    schedules = {"objective.schedule": {"choice": [{"kind": "cosine"}, {"kind": "power", "exponent": 2.0}]}}
    parsed, problems = parse_space(schedules, LEAVES, FIXED)
    assert not problems
    optuna_ = proposer(tmp_path / "journal", parsed)
    power = {"objective.schedule": {"kind": "power", "exponent": 2.0}}
    assert optuna_.tell_known("squared", replace(BASE, power), BASE, [1.0])
    assert not optuna_.tell_known("linear", BASE, BASE, [1.0])


@pytest.mark.parametrize("kind", ["tpe", "grid"])
@pytest.mark.parametrize("damage", [b"\xff\xfe\x00\n", b'{"op_code": 4}\n', b"[" * 100_000 + b"\n"])
def test_no_proposal_is_lost_if_any_line_of_the_journal_is_damaged(tmp_path: Path, kind: str, damage: bytes) -> None:
    journal = tmp_path / "journal"
    first = proposer(journal, space(), kind)
    for number in range(3):
        name = f"t{number}"
        assert first.ask(name, anything) is not None
        first.tell(name, [float(number)])
    lines, proposed = journal.read_bytes().splitlines(keepends=True), first.known()
    for number in range(0, len(lines), 5):
        damaged = b"".join([*lines[:number], damage, *lines[number + 1 :]])
        journal.write_bytes(damaged)
        again = proposer(journal, space(), kind)
        assert again.damaged_line == number + 1
        lost = proposed.keys() - again.known().keys()
        assert len(lost) <= 1  # that of the damaged line itself, which the folder of its run has
        assert again.known().items() <= proposed.items()
        assert (tmp_path / "damaged-journal").read_bytes() == damaged
        for name in again.known():
            again.tell(name, [1.0])
        following = again.ask("new", anything)
        assert following is not None
        # The rebuilt journal is whole.
        whole = proposer(journal, space(), kind)
        assert whole.damaged_line is None
        assert whole.known() == again.known()


def test_a_proposal_whose_content_is_damaged_is_left_out_and_the_others_are_kept(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    first = proposer(journal, space(), "random")
    for number in range(3):
        assert first.ask(f"t{number}", anything) is not None
    whole = journal.read_bytes()
    journal.write_bytes(whole.replace(b'"settings"', b'"sattings"', 1))  # Optuna can read the line
    again = proposer(journal, space(), "random")
    assert again.damaged_line is not None
    assert list(again.known()) == ["t1", "t2"]
    assert not again.restore("t0", {"model.width": 8})  # below the range
    assert not again.restore("t0", {"model.widht": 64})
