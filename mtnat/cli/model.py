"""Options that several commands share: the model and its decoding."""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtnat.config import read_value, replace
from mtnat.decoding import DecoderName, Decoding
from mtnat.errors import UserError
from mtnat.lab.tracking.models import fetch_model, is_address
from mtnat.systems.registry import DECODINGS
from mtnat.training import Model, default_device, load_model

MODEL_HELP = "a folder, such as outputs/quickstart/best, or MLflow's runs:/<run>/model or models:/<name>/<version>"

_SETTINGS: Mapping[str, str] = {
    "iterations": "passes of the NAT decoder",
    "length_candidates": "target lengths tried by the NAT decoder",
    "beam": "beam of the AT decoder; 1 is greedy",
}


_PRESETS = list(dict.fromkeys(name for kind in DECODINGS for name in kind.presets))


def add_decoding(parser: argparse.ArgumentParser) -> None:
    """Adds the options that override the `decoding` of the experiment."""
    parser.add_argument("--decoder", choices=["nat", "at"], help="decoder to use (default: that of the experiment)")
    parser.add_argument("--preset", choices=_PRESETS, help="named group of settings of the NAT decoder; see docs/decoding.md")
    for setting, meaning in _SETTINGS.items():
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


def at_decoding_of(options: argparse.Namespace, model: Model) -> Decoding:
    """Returns the settings of beam search: those of the experiment, overridden by the options.

    Raises:
        UserError: if a setting is invalid.
    """
    named = {name: getattr(options, name) for name in ("beam", "length_penalty", "precision")}
    return replace(model.experiment.decoding, {name: value for name, value in named.items() if value is not None})


def open_model(name: str) -> Model:
    """Loads a model from a folder or an MLflow URI onto the default device.

    Raises:
        ModelError: if there is no such model.
    """
    with tempfile.TemporaryDirectory(prefix="mtnat-model-") as folder:
        return load_model(model_folder(name, Path(folder)), default_device())


def model_folder(name: str, downloads: Path) -> Path:
    """Returns the folder of a model: `name` itself, or a new folder in `downloads` if `name` is an MLflow URI.

    Raises:
        ModelError: if MLflow has no such model.
    """
    return fetch_model(name, downloads) if is_address(name) else Path(name)


def decoding_of(options: argparse.Namespace, model: Model) -> tuple[Decoding, DecoderName]:
    """Returns the decoding of a model: that of its experiment, overridden by the preset, overridden by the single options.

    Raises:
        UserError: if a setting is invalid, or the model lacks the decoder.
    """
    if options.decoder and options.decoder not in model.experiment.branches:
        raise UserError(f"--decoder {options.decoder}: the model was trained without that decoder; leave the option out.")
    decoder: DecoderName = options.decoder or model.experiment.decoder
    named = {name: getattr(options, name) for name in (*_SETTINGS, "rerank", "precision")}
    given = {name: value for name, value in named.items() if value is not None} | _others(options.set)
    decoding = model.experiment.decoding
    if options.preset and options.preset not in decoding.presets:
        known = ", ".join(decoding.presets)
        raise UserError(f"--preset {options.preset}: the model's kind of decoding has no such preset; known here: {known}.")
    return replace(decoding, {**decoding.presets.get(options.preset, {}), **given}), decoder


def _others(settings: Sequence[str]) -> dict[str, Any]:
    """Returns the settings given by `--set`."""
    pairs = [setting.partition("=") for setting in settings]
    for name, equals, _ in pairs:
        if not equals:
            raise UserError(f"--set {name}: must be SETTING=VALUE, such as narrow_after=2.")
    return {name: read_value(value, f"--set {name}") for name, _, value in pairs}
