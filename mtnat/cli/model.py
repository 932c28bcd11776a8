"""Reads the options of a model and of its decoding."""

import argparse
from collections.abc import Sequence
from typing import Any

from mtnat.cli.options.shared import SETTINGS
from mtnat.config import read_value, replace
from mtnat.decoding import DecoderName, Decoding
from mtnat.errors import UserError
from mtnat.training import Model


def at_decoding_of(options: argparse.Namespace, model: Model) -> Decoding:
    """Returns the settings of beam search: those of the experiment, overridden by the options.

    Raises:
        UserError: if a setting is invalid.
    """
    named = {name: getattr(options, name) for name in ("beam", "length_penalty", "precision")}
    return replace(model.experiment.decoding, {name: value for name, value in named.items() if value is not None})


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
