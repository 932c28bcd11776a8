"""The options of ``mtnat evaluate``."""

import argparse
from pathlib import Path

from mtnat.cli.options.shared import MODEL_HELP, add_decoding, add_test_set


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("--model", required=True, help=MODEL_HELP)
    parser.add_argument("--against", metavar="MODEL", help="another model to compare the first one with")
    add_test_set(parser)
    add_decoding(parser)
    parser.add_argument("--output", type=Path, metavar="FILE", help="file for the translations of the first model, one a line")
    parser.add_argument(
        "--tokenized",
        action="store_true",
        help="also show BLEU on Moses' tokens, cased and lower-cased; needs --languages if no file name states the languages",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of the table")
    parser.set_defaults(command="mtnat.cli.evaluate:run")
