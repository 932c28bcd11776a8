"""The options of ``mtnat data``."""

import argparse
from pathlib import Path

from mtnat.cli.options.shared import MODEL_HELP


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands and their options."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    getting = actions.add_parser("get", help="download a corpus; without a name, list the corpora")
    getting.add_argument("name", nargs="?", help="name of the corpus, such as multi30k, wmt14-en-de, or sacrebleu/wmt14/full")
    getting.add_argument("--languages", metavar="PAIR", help="languages of a sacreBLEU test set, such as en-de")
    getting.add_argument("--output", type=Path, metavar="FOLDER", help="folder of the corpus (default: $MTNAT_DATA/NAME)")
    getting.add_argument(
        "--from", dest="brought", type=Path, metavar="FOLDER", help="folder of files that were downloaded in another way"
    )
    getting.set_defaults(command="mtnat.cli.data:get", resumes_from="where it stopped")

    clean = actions.add_parser("clean", help="drop pairs that are unfit for training")
    _add_pair(clean)
    clean.add_argument("--output", type=Path, required=True, metavar="PREFIX", help="writes PREFIX.en.gz for an input .en.gz")
    clean.add_argument("--max-words", type=int, metavar="N", help="maximum number of words on a side (default: 250)")
    clean.add_argument(
        "--max-ratio", type=float, metavar="R", help="maximum ratio of words, longer side to shorter (default: 2)"
    )
    clean.add_argument("--keep-duplicates", action="store_true", help="keep repeated pairs")
    clean.add_argument("--json", action="store_true", help="print a line of JSON instead of a table")
    clean.set_defaults(command="mtnat.cli.data:clean")

    stats = actions.add_parser("stats", help="show lengths, duplicates, empty lines and faulty characters")
    _add_pair(stats)
    stats.add_argument("--modality", action="store_true", help="also measure the ambiguity of word translations; takes longer")
    stats.add_argument("--json", action="store_true", help="print JSON instead of tables")
    stats.set_defaults(command="mtnat.cli.data:stats")

    split = actions.add_parser("split", help="divide a text into train, valid and test, without common sentences")
    _add_pair(split)
    split.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="writes FOLDER/train.en.gz and so on")
    split.add_argument(
        "--valid", type=int, metavar="N", help="number of validation pairs (default: 1000, but at most a tenth of the text)"
    )
    split.add_argument("--test", type=int, metavar="N", help="number of test pairs (default: likewise)")
    split.add_argument("--seed", type=int, metavar="N", help="seed of the choice of validation and test pairs (default: 1)")
    split.add_argument(
        "--languages", metavar="PAIR", help="languages, such as en-de (default: those in the names of the two files)"
    )
    split.set_defaults(command="mtnat.cli.data:split")

    select = actions.add_parser("select", help="leave out the training pairs that an AT model predicts worst")
    select.add_argument("--model", required=True, help=f"the model: {MODEL_HELP}")
    select.add_argument("--inactive", type=float, default=0.1, metavar="SHARE", help="share that is left out (default: 0.1)")
    select.add_argument("--output", type=Path, required=True, metavar="FILE", help="file for data.selected; .gz or plain")
    select.add_argument("--scores", type=Path, metavar="FILE", help="file for the score of each pair; .gz or plain")
    select.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], help="decoding.precision")
    select.set_defaults(command="mtnat.cli.select:run", resumes_from="where it stopped")

    ready = actions.add_parser("prepare", help="train the vocabulary and tokenise the text before a training does")
    ready.add_argument(
        "experiment",
        type=Path,
        help="YAML file of an experiment, or a study to prepare all its columns: a file, or a name such as quickstart",
    )
    ready.set_defaults(command="mtnat.cli.data:prepare")


def _add_pair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="source text, plain or .gz, one sentence a line")
    parser.add_argument("target", type=Path, help="target text, line by line")
