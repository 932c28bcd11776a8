"""Reads the options of a model and of its decoding."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtnat.cli.options.shared import SETTINGS
from mtnat.config import read_value, replace
from mtnat.decoding import DecoderName, Decoding
from mtnat.errors import UserError
from mtnat.lab.tracking.models import fetch_model, is_address
from mtnat.training import Model, default_device, load_model


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
    named = {name: getattr(options, name) for name in (*SETTINGS, "rerank", "precision")}
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
