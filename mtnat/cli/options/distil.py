"""The options of ``mtnat distil``."""

import argparse
from pathlib import Path

from mtnat.cli.options.shared import MODEL_HELP, add_at_decoding


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("--model", required=True, help=f"the teacher: {MODEL_HELP}")
    parser.add_argument(
        "--source",
        type=Path,
        metavar="FILE",
        help="text to translate, plain or .gz (default: the teacher's own training sources)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="file for the translations, one line for each source; .gz or plain",
    )
    parser.add_argument(
        "--rejuvenate",
        action="store_true",
        help="rewrite only the targets of the pairs that the model was not trained on (data.selected), and keep the others",
    )
    add_at_decoding(parser)
    parser.set_defaults(command="mtnat.cli.distil:run", resumes_from="where it stopped")
