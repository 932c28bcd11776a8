"""What every proposer promises, as a test class.

The author of a proposer subclasses `ProposerContract` in a test file and says how it is opened::

    from mtnat.testing.proposer_contract import SPACE, ProposerContract

    class TestMine(ProposerContract):
        @pytest.fixture
        def reopen(self, tmp_path: Path) -> Callable[[], Proposer]:
            return lambda: Mine(SPACE, tmp_path / "journal")
"""

from collections.abc import Callable

import pytest

from mtnat.config import build, replace
from mtnat.experiment import Experiment
from mtnat.lab.plan.proposer import Proposer
from mtnat.lab.study.record import Settings

WIDTHS = (64, 128, 192, 256)
SPACE = {"model.width": {"choice": list(WIDTHS)}}
"""The search of a study file that the proposer of these tests has to serve."""
BASE = build(Experiment, {"data": {"corpus": "grammar-en-de"}, "training": {"steps": 20, "warmup_steps": 5}})
"""The experiment of the study."""


def _any(settings: Settings) -> bool:
    return True


class ProposerContract:
    """Tests of a `Proposer` that draws from `SPACE` for a study with one metric, whose runs have 20 steps."""

    @pytest.fixture
    def reopen(self) -> Callable[[], Proposer]:
        """Opens the same proposer again at each call, as the driver of a resumed study does."""
        raise NotImplementedError

    def test_a_proposal_lies_in_the_space_and_is_known_from_then_on(self, reopen: Callable[[], Proposer]) -> None:
        proposer = reopen()
        assert proposer.known() == {}
        made = {name: proposer.ask(name, _any) for name in ("b", "a")}
        assert all(settings and settings["model.width"] in WIDTHS for settings in made.values())
        assert proposer.known() == made
        assert list(proposer.known()) == ["b", "a"]

    def test_proposals_outlive_an_interruption(self, reopen: Callable[[], Proposer]) -> None:
        made = reopen().ask("a", _any)
        proposer = reopen()
        assert proposer.known() == {"a": made}
        proposer.tell("a", [3.0])
        assert reopen().known() == {"a": made}

    def test_only_what_is_wanted_is_proposed(self, reopen: Callable[[], Proposer]) -> None:
        proposer = reopen()
        settings = proposer.ask("a", lambda settings: settings["model.width"] == 192)
        assert settings == {"model.width": 192}
        assert proposer.ask("b", lambda settings: False) is None
        assert list(proposer.known()) == ["a"]

    def test_a_space_without_further_wanted_settings_is_exhausted(self, reopen: Callable[[], Proposer]) -> None:
        proposer = reopen()
        widths: list[int] = []
        while settings := proposer.ask(f"t{len(widths)}", lambda settings: settings["model.width"] not in widths):
            widths.append(settings["model.width"])
            assert len(widths) <= len(WIDTHS)
        assert sorted(widths) == list(WIDTHS)

    def test_telling_twice_changes_nothing(self, reopen: Callable[[], Proposer]) -> None:
        proposer = reopen()
        made = {name: proposer.ask(name, _any) for name in "abc"}
        for _ in range(2):
            proposer.tell("a", [3.0])
            proposer.tell("b", None)
            proposer = reopen()
        assert proposer.known() == made

    def test_a_score_that_is_reported_twice_gets_the_same_answer(self, reopen: Callable[[], Proposer]) -> None:
        proposer = reopen()
        proposer.ask("a", _any)
        first = proposer.report("a", 10, 12.0)
        assert reopen().report("a", 10, 12.0) == first

    def test_a_pruned_proposal_stays_known(self, reopen: Callable[[], Proposer]) -> None:
        proposer = reopen()
        made = proposer.ask("a", _any)
        proposer.report("a", 10, 12.0)
        proposer.tell("a", [12.0], pruned=True)
        assert reopen().known() == {"a": made}

    def test_a_trial_from_elsewhere_counts_once_and_is_no_proposal(self, reopen: Callable[[], Proposer]) -> None:
        proposer, experiment = reopen(), replace(BASE, {"model.width": 128})
        counts = [each.tell_known("baseline", experiment, BASE, [12.0]) for each in (proposer, proposer, reopen())]
        assert counts == [True, True, True]
        assert proposer.known() == {}
