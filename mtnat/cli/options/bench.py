"""The options of ``mtnat bench``."""

import argparse
from pathlib import Path

from mtnat.cli.options.shared import MODEL_HELP, add_test_set


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands and their options; the defaults are those of the option records."""
    subjects = parser.add_subparsers(required=True, metavar="SUBJECT")

    train = subjects.add_parser("train", help="training speed of each system, and its use of the machine")
    train.add_argument("--size", choices=["small", "base", "tiny"], help="size of model, batch and text (default: small)")
    train.add_argument("--systems", nargs="+", metavar="NAME", help="systems to measure beside nat (default: all)")
    train.add_argument("--steps", type=int, help="number of timed updates in each process (default: 8)")
    train.add_argument("--rounds", type=int, help="number of measurements of each system, in turn (default: 2)")
    train.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], help="training.precision (default: auto)")
    train.add_argument("--compile", action="store_true", help="training.compile")
    train.add_argument("--threads", type=int, help="threads of each worker (default: all, or 1 with several workers)")
    train.add_argument("--workers", type=int, metavar="N", help="compare N workers with one, on the same batches (default: 1)")
    train.add_argument("--random-text", action="store_true", help="use random tokens of similar lengths instead of a corpus")
    train.set_defaults(command="mtnat.cli.bench:train")

    data = subjects.add_parser("data", help="speed of preparing a corpus and of loading batches")
    data.add_argument("--corpus", choices=["multi30k", "tatoeba", "grammar"], help="corpus of the text (default: multi30k)")
    data.add_argument("--pairs", type=int, help="number of pairs; the text is repeated or truncated (default: all)")
    data.set_defaults(command="mtnat.cli.bench:data")

    decode = subjects.add_parser("decode", help="speed and quality of each search of a model")
    decode.add_argument("--model", required=True, help=MODEL_HELP)
    add_test_set(decode)
    decode.add_argument("--sentences", type=int, metavar="N", help="translate only the first N sentences (default: all)")
    decode.add_argument(
        "--latency-sentences", type=int, metavar="N", help="also translate N sentences one at a time (default: 100)"
    )
    decode.add_argument("--rounds", type=int, help="number of measurements of each search, in turn (default: 1)")
    decode.add_argument(
        "--precision",
        choices=["auto", "fp32", "bf16", "fp16"],
        help="precision of all searches (default: fp32, and that of the preset for the fast presets)",
    )
    decode.add_argument("--threads", type=int, help="threads of PyTorch (default: PyTorch's default)")
    decode.add_argument(
        "--picture", type=Path, metavar="FILE", help="plot quality against speed into a .png, .svg or .pdf file"
    )
    decode.set_defaults(command="mtnat.cli.bench:decode")

    study = subjects.add_parser("study", help="overhead of the study platform over the training itself")
    study.add_argument("--trials", type=int, help="number of trials of the study (default: 12)")
    study.add_argument("--seconds", type=float, help="training time of each trial; 0 for almost none (default: 30)")
    study.add_argument(
        "--simulate",
        nargs="+",
        metavar="NAME=NUMBER",
        help="instead, simulate a study without training: trials=10000 workers=1000, minutes of a run, points on its curves",
    )
    study.set_defaults(command="mtnat.cli.bench:study")

    significance = subjects.add_parser("significance", help="how often a study marks a difference that is none, or finds one")
    significance.add_argument("--studies", type=int, help="number of simulated studies in each row (default: 200)")
    significance.add_argument("--systems", type=int, help="number of systems compared with the baseline (default: 5)")
    significance.add_argument("--sentences", type=int, help="number of test sentences (default: 500)")
    significance.add_argument("--seeds", type=int, nargs="+", metavar="N", help="numbers of seeds (default: 1 2 3 5)")
    significance.add_argument(
        "--looks", type=int, nargs="+", metavar="N", help="also simulate studies with confirm.looks (default: none)"
    )
    significance.add_argument(
        "--deviations", type=float, nargs="+", metavar="X", help="deviations of a score between seeds (default: 0.5 1 1.5 2)"
    )
    significance.add_argument("--difference", type=float, metavar="X", help="true difference for the power (default: 2)")
    significance.add_argument("--resamples", type=int, metavar="N", help="resamples of each test (default: 400)")
    significance.set_defaults(command="mtnat.cli.bench:significance")

    for subject in (train, data, decode, study, significance):
        subject.add_argument("--json", action="store_true", help="print a line of JSON for each row instead of a table")
