"""The lines that show the progress of a study without a terminal."""

import re
from io import StringIO

import pytest
from rich.console import Console
from small_study import power, study

from mtnat.lab.driver.screen import TerminalScreen
from mtnat.lab.outputs.runs import Result, Run
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.plan.listed_proposer import ListedProposer


@pytest.fixture
def agenda() -> Agenda:
    """Of three runs: two baselines and a proposal."""
    return Agenda(study(trials=1, confirm=None), ListedProposer(power(2.0)), {})


def started(agenda: Agenda) -> Run:
    run = agenda.next()
    assert run
    return run


def test_the_time_of_the_study_is_estimated_before_its_first_run_has_ended(
    agenda: Agenda, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    said = StringIO()
    screen, run = TerminalScreen(Console(file=said, width=200), agenda, most_at_once=1), started(agenda)
    screen.started(run)
    now = 5.0  # the process has started, and the text is prepared
    screen.progressed(run, 10, 40, {"train/loss": 2.0})
    now = 15.0
    screen.progressed(run, 20, 40, {"train/loss": 1.0, "valid/bleu": 3.0})
    # One second a step: the run takes 35 s in all, and three runs 105 s, of which 15 s have passed: 1.5 minutes.
    assert said.getvalue().splitlines()[-1].endswith("step 20/40, loss 1.000, valid BLEU 3.00; 0 of 3 runs, about 2 min left")


@pytest.mark.parametrize("names_hosts", [False, True])
def test_the_line_of_an_ended_run_names_its_machine_where_there_are_several(agenda: Agenda, *, names_hosts: bool) -> None:
    said = StringIO()
    screen, run = TerminalScreen(Console(file=said, width=200), agenda, 1, names_hosts=names_hosts), started(agenda)
    screen.started(run)
    screen.ended(run, Result(run=run.id, valid=12.0, host="gpu-box-7"))
    assert bool(re.search(r" in \d+ s on gpu-box-7; ", said.getvalue())) == names_hosts
