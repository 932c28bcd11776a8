"""The options of ``mtnat new``."""

import argparse
from pathlib import Path


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("name", help="name of the study; it is written to NAME.yaml")
    parser.add_argument(
        "--corpus",
        metavar="NAME",
        help="corpus in $MTNAT_DATA/NAME, as `data get` and `data split` write it (default: the embedded corpus)",
    )
    for split in ("train", "valid", "test"):
        parser.add_argument(
            f"--{split}", type=Path, nargs=2, metavar=("SRC", "TGT"), help=f"files of the {split} text, instead of --corpus"
        )
    parser.add_argument(
        "--languages", metavar="PAIR", help="languages of --corpus, such as en-de (default: as its files and names state)"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="the study file (default: NAME.yaml)")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    parser.set_defaults(command="mtnat.cli.new:run")
