"""The options of ``mtnat train``."""

import argparse
from pathlib import Path


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("experiment", type=Path, help="YAML file of an experiment, such as outputs/quickstart/best.yaml")
    parser.add_argument("--output", type=Path, help="folder of the run (default: outputs/<name of the file>)")
    parser.add_argument(
        "--micro-batches",
        type=int,
        default=1,
        metavar="N",
        help="split each batch into N, so that an update needs less memory; only dropout then draws other numbers (default: 1)",
    )
    parser.set_defaults(command="mtnat.cli.train:run", resumes_from="the last checkpoint")
