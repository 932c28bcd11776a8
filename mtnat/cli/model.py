"""What several commands ask: which model, and how it decodes."""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtnat.config import read_value, replace
from mtnat.decoding import PRESETS, DecoderName, DecodingConfig
from mtnat.errors import UserError
from mtnat.lab.models import fetch_model, is_address
from mtnat.training import Model, default_device, load_model

MODEL_HELP = "a folder, such as outputs/quickstart/best, or MLflow's runs:/<run>/model or models:/<name>/<version>"

_SETTINGS: Mapping[str, str] = {
    "iterations": "passes of the NAT decoder",
    "length_candidates": "target lengths tried by the NAT decoder",
    "beam": "beam of the AT decoder; 1 is greedy",
}


def add_decoding(parser: argparse.ArgumentParser) -> None:
    """Options that replace the experiment's `decoding`."""
    parser.add_argument("--decoder", choices=["nat", "at"], help="another decoder than the experiment's")
    parser.add_argument("--preset", choices=list(PRESETS), help="settings of the NAT decoder that belong together; see README")
    for setting, meaning in _SETTINGS.items():
        parser.add_argument(f"--{setting.replace('_', '-')}", type=int, metavar="N", help=meaning)
    parser.add_argument("--rerank", choices=["none", "at"], help="who chooses among the NAT decoder's lengths")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], help="as decoding.precision")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SETTING=VALUE",
        help="any other of decoding's settings; as often as wanted",
    )


def add_at_decoding(parser: argparse.ArgumentParser) -> None:
    """Options that replace what decides beam search."""
    parser.add_argument("--beam", type=int, metavar="N", help="of the search (default: the experiment's, 5 if it says nothing)")
    parser.add_argument("--length-penalty", type=float, metavar="X", help="as decoding.length_penalty")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], help="as decoding.precision")


def at_decoding_of(options: argparse.Namespace, model: Model) -> DecodingConfig:
    """How a model's AT decoder searches: as its experiment says, with the options over it.

    Raises:
        UserError: a setting does not fit.
    """
    named = {name: getattr(options, name) for name in ("beam", "length_penalty", "precision")}
    return replace(model.experiment.decoding, {name: value for name, value in named.items() if value is not None})


def open_model(name: str) -> Model:
    """The model of a folder or of one of MLflow's addresses, on the device that this machine has.

    Raises:
        ModelError: there is no such model.
    """
    with tempfile.TemporaryDirectory(prefix="mtnat-model-") as folder:
        return load_model(model_folder(name, Path(folder)), default_device())


def model_folder(name: str, downloads: Path) -> Path:
    """The folder that `name` is, or a new one in `downloads` with what MLflow keeps at that address.

    Raises:
        ModelError: MLflow has no such model.
    """
    return fetch_model(name, downloads) if is_address(name) else Path(name)


def decoding_of(options: argparse.Namespace, model: Model) -> tuple[DecodingConfig, DecoderName]:
    """How a model decodes: as its experiment says, with a preset over it, with the single options over that.

    Raises:
        UserError: a setting does not fit, or the model lacks the decoder.
    """
    objective = model.experiment.objective
    if (options.decoder == "at" and not objective.trains_at) or (options.decoder == "nat" and not objective.trains_nat):
        raise UserError(f"--decoder {options.decoder}: the model was trained without that decoder; leave the option out.")
    decoder: DecoderName = options.decoder or model.experiment.decoder
    named = {name: getattr(options, name) for name in (*_SETTINGS, "rerank", "precision")}
    given = {name: value for name, value in named.items() if value is not None} | _others(options.set)
    return replace(model.experiment.decoding, {**PRESETS.get(options.preset, {}), **given}), decoder


def _others(settings: Sequence[str]) -> dict[str, Any]:
    """What `--set` names."""
    pairs = [setting.partition("=") for setting in settings]
    for name, equals, _ in pairs:
        if not equals:
            raise UserError(f"--set {name}: must be SETTING=VALUE, such as narrow_after=2.")
    return {name: read_value(value, f"--set {name}") for name, _, value in pairs}
