"""`ListedProposer` fulfils the proposer contract."""

from collections.abc import Callable

import pytest

from mtnat.lab.plan.listed_proposer import ListedProposer
from mtnat.lab.plan.proposer import Proposer
from mtnat.testing.proposer_contract import WIDTHS, ProposerContract


class TestListedProposer(ProposerContract):
    @pytest.fixture
    def reopen(self) -> Callable[[], Proposer]:
        listed = ListedProposer(*({"model.width": width} for width in WIDTHS), prunes_below=5.0)
        return lambda: listed
