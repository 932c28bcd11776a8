"""Searching for the best translation."""

from mtnat.decoding.config import DecodingConfig
from mtnat.decoding.hypotheses import Hypothesis
from mtnat.decoding.search import DecoderName, decode, translate

__all__ = ["DecoderName", "DecodingConfig", "Hypothesis", "decode", "translate"]
