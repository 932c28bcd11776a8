"""Options that several commands have: the model, its decoding, and a test set."""

import argparse
from collections.abc import Mapping
from pathlib import Path

MODEL_HELP = "a folder, such as outputs/quickstart/best, or MLflow's runs:/<run>/model or models:/<name>/<version>"

SETTINGS: Mapping[str, str] = {
    "iterations": "passes of the NAT decoder",
    "length_candidates": "target lengths tried by the NAT decoder",
    "beam": "beam of the AT decoder; 1 is greedy",
}
"""The settings of decoding that have an option of their own, with its help."""


def add_decoding(parser: argparse.ArgumentParser) -> None:
    """Adds the options that override the `decoding` of the experiment."""
    parser.add_argument("--decoder", choices=["nat", "at"], help="decoder to use (default: that of the experiment)")
    parser.add_argument("--preset", metavar="NAME", help="named settings of the NAT decoder: paper, fast or fastest")
    for setting, meaning in SETTINGS.items():
        parser.add_argument(f"--{setting.replace('_', '-')}", type=int, metavar="N", help=meaning)
    parser.add_argument("--rerank", choices=["none", "at"], help="how to choose among the candidates of the NAT decoder")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], help="decoding.precision")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SETTING=VALUE",
        help="any other setting of decoding; may be repeated",
    )


def add_at_decoding(parser: argparse.ArgumentParser) -> None:
    """Adds the options that override the settings of beam search."""
    parser.add_argument("--beam", type=int, metavar="N", help="beam size (default: that of the experiment, or else 5)")
    parser.add_argument("--length-penalty", type=float, metavar="X", help="decoding.length_penalty")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], help="decoding.precision")


def add_test_set(parser: argparse.ArgumentParser) -> None:
    """Adds the options that name a test set. Without them, it is the test split of the model's experiment."""
    parser.add_argument(
        "--split",
        choices=["test", "valid"],
        help="split of the model's own experiment, if no other test set is named (default: test)",
    )
    parser.add_argument("--source", type=Path, metavar="FILE", help="source text, plain or .gz, one sentence a line")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="reference translation, line by line")
    parser.add_argument(
        "--test-set",
        metavar="NAME",
        help="test set of sacreBLEU, such as wmt14/full; downloaded into ~/.sacrebleu if missing",
    )
    parser.add_argument("--languages", metavar="PAIR", help="languages of --test-set, such as en-de")
