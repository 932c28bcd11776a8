"""Searching for the best translation."""

from mtnat.decoding.config import PRESETS, DecodingConfig
from mtnat.decoding.hypotheses import Hypothesis
from mtnat.decoding.search import DecoderName, TranslatedLine, Translation, decode, translate
from mtnat.decoding.trace import Trace, TracedPass, trace

__all__ = [
    "PRESETS",
    "DecoderName",
    "DecodingConfig",
    "Hypothesis",
    "Trace",
    "TracedPass",
    "TranslatedLine",
    "Translation",
    "decode",
    "trace",
    "translate",
]
