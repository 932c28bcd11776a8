"""The options of ``mtnat inspect``."""

import argparse
from pathlib import Path

from mtnat.cli.options.shared import MODEL_HELP, add_decoding


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("sentence", help="sentence to translate, in quotes")
    parser.add_argument("--model", required=True, help=MODEL_HELP)
    add_decoding(parser)
    parser.add_argument("--page", type=Path, metavar="FILE", help="write everything, with attention maps, into an .html file")
    parser.add_argument("--json", action="store_true", help="print a JSON object with everything instead of the tables")
    parser.set_defaults(command="mtnat.cli.inspect:run")
