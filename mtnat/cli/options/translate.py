"""The options of ``mtnat translate``."""

import argparse
from pathlib import Path

from mtnat.cli.options.shared import MODEL_HELP, add_decoding


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument(
        "inputs", type=Path, nargs="*", metavar="input", help="text files, plain or .gz (default: standard input)"
    )
    parser.add_argument("--model", required=True, help=MODEL_HELP)
    parser.add_argument("--output", type=Path, help="file for the translations (default: standard output)")
    add_decoding(parser)
    parser.add_argument(
        "--n-best", type=int, metavar="N", help="print N translations of each line: `line ||| translation ||| score`"
    )
    parser.add_argument("--json", action="store_true", help="print JSON for each line: translations, scores, lengths, passes")
    parser.add_argument("--trace", action="store_true", help="show what each pass of the NAT decoder masked and changed")
    parser.add_argument(
        "--lines-at-once",
        type=int,
        default=1024,
        metavar="N",
        help="number of lines to read and translate together (default: 1024)",
    )
    parser.set_defaults(command="mtnat.cli.translate:run")
