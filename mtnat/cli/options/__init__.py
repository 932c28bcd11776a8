"""The options of every command. These modules import no heavy library, so that help is shown at once.

The default ``command`` of a subparser names the function that runs the command, such as ``mtnat.cli.train:run``. The default
``resumes_from`` says where the command continues after it was stopped.
"""

import argparse

from mtnat import __version__
from mtnat.cli.options import (
    bench,
    completion,
    data,
    distil,
    evaluate,
    inspect,
    new,
    probe,
    schema,
    similarity,
    train,
    translate,
)
from mtnat.lab import command as tune


def command_line() -> argparse.ArgumentParser:
    """Returns the parser of the command line, with all commands."""
    parser = argparse.ArgumentParser(prog="mtnat", description="Non-autoregressive machine translation: studies and models.")
    parser.add_argument("--version", action="version", version=f"mtnat {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    tune.add(commands.add_parser("tune", help="run the study in a YAML file and answer its question"))
    new.add(commands.add_parser("new", help="write a study file to begin with"))
    train.add(commands.add_parser("train", help="train one experiment, or resume it"))
    translate.add(commands.add_parser("translate", help="translate lines from standard input or from files"))
    evaluate.add(commands.add_parser("evaluate", help="score a model, or compare two, on a test set"))
    inspect.add(commands.add_parser("inspect", help="show how a model translates a sentence: passes, probabilities, attention"))
    similarity.add(commands.add_parser("similarity", help="compare what the encoders of models represent"))
    probe.add(commands.add_parser("probe", help="test what a classifier finds in the encodings of models"))
    distil.add(commands.add_parser("distil", help="let a teacher translate the training text for students"))
    data.add(commands.add_parser("data", help="download, clean, describe and prepare corpora"))
    bench.add(commands.add_parser("bench", help="measure training, decoding or data loading on this machine"))
    schema.add(commands.add_parser("schema", help="print the JSON schema of study files or of experiment files"))
    completion.add(commands.add_parser("completion", help="print a script that completes commands in a shell"))
    return parser
