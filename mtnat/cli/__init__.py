"""``python -m mtnat``: runs one experiment at a time, without Ray, MLflow or Optuna."""

import argparse
import os
import sys
from collections.abc import Sequence

from mtnat.cli import bench, data, distil, evaluate, train, translate
from mtnat.errors import MtnatError, UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 1 if a run failed, 2 for wrong input, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        exit_code: int = options.command(options)
    except UserError as error:
        print("\n".join(f"mtnat: {problem}" for problem in error.problems), file=sys.stderr)
        return 2
    except MtnatError as error:
        print(f"mtnat: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of the output has closed the pipe (``| head``). Redirect stdout, so that flushing it at exit does not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        resumable = {train.run: "the last checkpoint", distil.run: "where it stopped", data.get: "where it stopped"}
        resume = f"; the same command resumes from {resumable[options.command]}" if options.command in resumable else ""
        print(f"mtnat: stopped{resume}.", file=sys.stderr)
        return 130
    return exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mtnat", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train.add(commands.add_parser("train", help="train one experiment, or resume it"))
    translate.add(commands.add_parser("translate", help="translate lines from standard input or from files"))
    evaluate.add(commands.add_parser("evaluate", help="score a model, or compare two, on a test set"))
    distil.add(commands.add_parser("distil", help="let a teacher translate the training text for students"))
    data.add(commands.add_parser("data", help="download, clean, describe and prepare corpora"))
    bench.add(commands.add_parser("bench", help="measure training, decoding or data loading on this machine"))
    return parser
