"""Writes docs/command-line.md from the parsers of the command line: ``python docs/scripts/command_line.py``.

`--check` writes nothing, and fails if the page is not what the command would write.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from mtnat.cli.options import command_line
from mtnat.files import write_whole

PAGE = Path(__file__).parents[1] / "command-line.md"
HEAD = """# Command line

<!-- Written by python docs/scripts/command_line.py; do not edit. -->

`mtnat COMMAND --help` prints the same.

The exit code of every command is 0, or 1 if a run failed, 2 for wrong input, and 130 after Ctrl-C.
"""


def main() -> int:
    """Writes or checks the page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--check", action="store_true", help="only report whether the page is up to date")
    checks: bool = options.parse_args().check
    written = "\n".join([HEAD, *_commands(command_line(), level=2)]).rstrip("\n") + "\n"
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == written:
        return 0
    if checks:
        print(f"{PAGE.name}: is not what the parsers give; run python docs/scripts/command_line.py.", file=sys.stderr)
        return 1
    write_whole(PAGE, written.encode())
    return 0


def _commands(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    """Yields the sections of the commands of a parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {each.dest: each.help for each in action._choices_actions}
            for name, command in action.choices.items():
                yield from _command(command, helps.get(name) or "", level)


def _command(parser: argparse.ArgumentParser, meaning: str, level: int) -> Iterator[str]:
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    is_group = any(isinstance(action, argparse._SubParsersAction) for action in actions)
    yield f"{'#' * level} {parser.prog}"
    yield ""
    yield _sentence(meaning)
    yield ""
    if is_group:
        yield from _commands(parser, level + 1)
        return
    yield "<!-- not run: the form of the command -->"
    yield ""
    yield "```text"
    yield " ".join([parser.prog, *_form(actions)])
    yield "```"
    yield ""
    if actions:
        yield "| option | meaning |"
        yield "|---|---|"
        for action in actions:
            yield f"| {_names(action)} | {_cell(_meaning(action))} |"
        yield ""


def _form(actions: list[argparse.Action]) -> Iterator[str]:
    """Yields what a call must contain."""
    if any(action.option_strings and not action.required for action in actions):
        yield "[OPTIONS]"
    for action in actions:
        if action.option_strings and action.required:
            yield f"{action.option_strings[-1]} {_value(action)}"
    for action in actions:
        if not action.option_strings:
            value = _value(action)
            yield {"?": f"[{value}]", "*": f"[{value} …]", "+": f"{value} …"}.get(str(action.nargs), value)


def _names(action: argparse.Action) -> str:
    value = _value(action)
    if not action.option_strings:
        return f"`{value}`"
    if action.nargs == 0:
        return ", ".join(f"`{name}`" for name in action.option_strings)
    return ", ".join(f"`{name} {value}{' …' if action.nargs in ('+', '*') else ''}`" for name in action.option_strings)


def _value(action: argparse.Action) -> str:
    """Returns the word for the value of an option."""
    if isinstance(action.metavar, str):
        return action.metavar if action.option_strings else action.metavar.upper()
    if action.choices is not None:
        return f"{{{','.join(map(str, action.choices))}}}"
    return action.dest.upper()


def _meaning(action: argparse.Action) -> str:
    """Returns the help of an option, with what is required."""
    meaning = (action.help or "") % {"default": action.default, "prog": ""} if action.help else ""
    return f"{meaning} (required)" if action.option_strings and action.required else meaning


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _cell(text: str) -> str:
    """Returns a help text as a cell of a table. Text between backticks stays as it is."""
    parts = " ".join(text.split()).split("`")
    parts[::2] = [part.replace("|", "&#124;").replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


if __name__ == "__main__":
    sys.exit(main())
