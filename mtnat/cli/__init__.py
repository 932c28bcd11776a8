"""``mtnat``, also ``python -m mtnat``: runs one command.

The options of the commands are in `mtnat.cli.options`, which imports no heavy library. The module of a command is imported when
the command runs.
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pkgutil import resolve_name

from mtnat.cli.options import command_line
from mtnat.errors import MtnatError, UserError
from mtnat.files import disk_is_full, too_long_a_name
from mtnat.process import end_output, permanent_imports, prepare_streams, raise_at_interrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 1 if a run failed, 2 for wrong input, 130 after Ctrl-C."""
    prepare_streams()
    if any("\0" in word for word in arguments or ()):  # a shell cannot pass it, but a program can
        print("mtnat: an argument holds the character NUL, which no file name can have; leave it out.", file=sys.stderr)
        return 2
    options = command_line().parse_args(arguments)
    try:
        command = _imported(options.command)
        raise_at_interrupt()
        exit_code = command(options)
        sys.stdout.flush()
    except UserError as error:
        print("\n".join(f"mtnat: {problem}" for problem in error.problems), file=sys.stderr)
        return 2
    except MtnatError as error:
        print(f"mtnat: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        end_output(sys.stdout)
        return 0
    except KeyboardInterrupt:
        resume = f"; the same command resumes from {options.resumes_from}" if "resumes_from" in options else ""
        print(f"mtnat: stopped{resume}.", file=sys.stderr)
        return 130
    except Exception as error:
        if message := too_long_a_name(error):
            print(f"mtnat: {message}", file=sys.stderr)
            return 2
        if not disk_is_full(error):
            raise
        print(f"mtnat: {error}; make room, and give the same command again.", file=sys.stderr)
        return 2
    return exit_code


def _imported(command: str) -> Callable[[Namespace], int]:
    """Imports the function of a command.

    Raises:
        UserError: this Python lacks a package that the command needs.
    """
    try:
        with permanent_imports():
            function: Callable[[Namespace], int] = resolve_name(command)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{sys.executable}: lacks the package {error.name}; use the environment in which mtnat is installed, such as "
            ".venv/bin/mtnat after `make study`."
        ) from None
    return function
