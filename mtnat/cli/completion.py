"""``mtnat completion``: prints a script by which a shell completes commands, options, files and names of studies."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtnat.cli.options import command_line
from mtnat.errors import UserError
from mtnat.lab.study.shipped import shipped_studies

_STUDIES = f"""
_mtnat_studies() {{
  compgen -W "{" ".join(shipped_studies())}" -- "$1"
  compgen -f -- "$1"
}}
"""


def run(options: argparse.Namespace) -> int:
    """Prints the script."""
    try:
        import shtab
    except ImportError:
        raise UserError("completion: needs shtab; install it: pip install 'mtnat[completion]'.") from None
    parser = command_line()
    for action in _actions(parser):
        if action.dest == "study":
            completed: dict[str, Any] = {"bash": "_mtnat_studies", "zsh": "_files", "preamble": {"bash": _STUDIES}}
        elif action.type is Path:
            completed = shtab.DIRECTORY if action.metavar == "FOLDER" else shtab.FILE
        else:
            continue
        action.complete = completed  # type: ignore[attr-defined]
    sys.stdout.write(shtab.complete(parser, shell=options.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yields the options and arguments of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _actions(inner)
