"""The options of ``mtnat schema``."""

import argparse


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("of", choices=["study", "experiment"], help="the kind of files that the schema describes")
    parser.set_defaults(command="mtnat.cli.schema:run")
