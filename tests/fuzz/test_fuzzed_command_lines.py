"""Whatever words follow ``mtnat``, the command runs, or says in a sentence what is wrong."""

import argparse
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inputs import bounded_memory
from small_study import TINY

from mtnat import cli
from mtnat.cli.options import command_line
from mtnat.config import build
from mtnat.data import prepare
from mtnat.experiment import Experiment
from mtnat.training import Alone, fit

ENDED = {0, 1, 2}
QUICK = {"completion", "data", "inspect", "new", "schema", "translate"}
"""Commands that are run; of the others only the options are read."""
FILES = ("text.en", "text.de", "empty", "bytes", "folder", "model", "none", "out")
ODD = (
    "",
    " ",
    "-",
    "--",
    "-1",
    "0",
    "1",
    "3.5",
    "1e9",
    "9" * 400,
    "nan",
    "True",
    "{",
    "a=b",
    "=",
    "\t",
    "名",
    "[/x]",
    "%s",
    "\udcff",
)


def _words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yields the names of all commands and options."""
    for action in parser._actions:
        yield from action.option_strings
    for name, each in _commands(parser).items():
        yield name
        yield from _words(each)


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return {
        name: each
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, each in action.choices.items()
    }


WORDS = sorted(set(_words(command_line())))
COMMANDS = sorted(_commands(command_line()))
LINES = st.tuples(
    st.sampled_from([*COMMANDS, *QUICK]),
    st.lists(st.sampled_from(WORDS) | st.sampled_from(FILES) | st.sampled_from(ODD), max_size=6),
)


@pytest.fixture(scope="module", autouse=True)
def _desk() -> Iterator[None]:
    """A folder with texts and a model, which is the current folder."""
    folder = Path(tempfile.mkdtemp())
    experiment = build(Experiment, TINY)
    list(fit(experiment, prepare(experiment.data), folder / "run", workers=Alone()))
    shutil.move(folder / "run" / "model", folder / "model")
    (folder / "text.en").write_text("the house is old .\n" * 9)
    (folder / "text.de").write_text("das Haus ist alt .\n" * 9)
    (folder / "empty").touch()
    (folder / "bytes").write_bytes(bytes(range(256)))
    (folder / "folder").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MTNAT_DATA", str(folder / "data"))
        yield
    shutil.rmtree(folder)


@given(LINES)
def test_any_words_are_a_command_or_are_refused(line: tuple[str, list[str]]) -> None:
    command, words = line
    out, errors = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with bounded_memory(), pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(errors):
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the house\n")))
        try:
            if command in QUICK and "get" not in words:  # it would download a corpus
                code: object = cli.main([command, *words])
            else:
                command_line().parse_args([command, *words])
                code = 0
        except SystemExit as end:  # of argparse
            code = end.code or 0
    assert code in ENDED
    assert "Traceback" not in errors.getvalue()
    assert code == 0 or errors.getvalue().strip()
