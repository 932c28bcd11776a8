"""The options of ``mtnat probe``."""

import argparse
from pathlib import Path

from mtnat.cli.options.shared import MODEL_HELP


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument(
        "--model",
        action="append",
        required=True,
        metavar="[NAME=]MODEL",
        help=f"{MODEL_HELP}; may be repeated, and others are compared with the first; models of equal NAME are a group, which "
        "is one training method with several seeds",
    )
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument(
        "--tasks", type=Path, metavar="FOLDER", help="files of tasks: of SentEval, sentence TAB label, or trees in brackets"
    )
    given.add_argument(
        "--text",
        type=Path,
        metavar="FILE",
        help="text, plain or .gz, of which sentence length, word content and bigram shift are made",
    )
    given.add_argument("--grammar", action="store_true", help="ten tasks of the embedded English grammar")
    parser.add_argument(
        "--layers",
        "--layer",
        default="top",
        metavar="N|top|all",
        help="number of the encoder layer, 0 for the embeddings; all probes every layer (default: top)",
    )
    parser.add_argument(
        "--pooling",
        choices=["mean", "max", "first", "last"],
        default="mean",
        help="how the states of a sentence become one vector (default: mean)",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        default=4,
        metavar="N",
        help="epochs of the classifier (default: %(default)s); more suit small tasks",
    )
    parser.add_argument(
        "--sentences", type=int, default=10_000, metavar="N", help="maximum number of sentences of a task (default: 10,000)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="draws sentences, folds and classifiers (default: %(default)s)"
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="draw a heat map, or accuracy against layer if all layers are probed, into a .png, .svg or .pdf file",
    )
    parser.add_argument(
        "--published", action="store_true", help="show the accuracies of Hao et al. 2021 too, as a table of their own"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of the table")
    parser.set_defaults(command="mtnat.cli.probe:run")
