"""The options of ``mtnat similarity``."""

import argparse
from pathlib import Path

from mtnat.cli.options.shared import MODEL_HELP


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("--model", action="append", required=True, help=f"{MODEL_HELP}; give two or more, each with --model")
    parser.add_argument(
        "--text", type=Path, required=True, metavar="FILE", help="source text to encode, plain or .gz, one sentence a line"
    )
    parser.add_argument("--sentences", type=int, metavar="N", help="encode only the first N sentences (default: all)")
    parser.add_argument(
        "--layers",
        choices=["top", "all"],
        default="top",
        help="compare the top encoder layers, or every layer with every layer (default: top)",
    )
    parser.add_argument(
        "--unit",
        choices=["piece", "sentence"],
        default="piece",
        help="what is an observation: a piece, or the mean over the pieces of a sentence, as models with different "
        "vocabularies need (default: piece)",
    )
    parser.add_argument(
        "--variance", type=float, default=0.99, metavar="X", help="share of the variance that SVCCA keeps (default: 0.99)"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw heat maps into a .png, .svg or .pdf file")
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of the table")
    parser.set_defaults(command="mtnat.cli.similarity:run")
