"""Decoding: mask-predict, beam search, reranking, and translation of lines."""

from mtnat.decoding.beam import BeamSearch
from mtnat.decoding.config import DecoderName, Decoding
from mtnat.decoding.fallback import FallbackSearch
from mtnat.decoding.hypotheses import Hypothesis
from mtnat.decoding.mask_predict import MaskPredictDecoding, MaskPredictSearch
from mtnat.decoding.rerank import RerankedSearch
from mtnat.decoding.search import Search
from mtnat.decoding.trace import Trace, TracedPass, trace, traceable
from mtnat.decoding.translate import TranslatedLine, Translation, decode, translate

__all__ = [
    "BeamSearch",
    "DecoderName",
    "Decoding",
    "FallbackSearch",
    "Hypothesis",
    "MaskPredictDecoding",
    "MaskPredictSearch",
    "RerankedSearch",
    "Search",
    "Trace",
    "TracedPass",
    "TranslatedLine",
    "Translation",
    "decode",
    "trace",
    "traceable",
    "translate",
]
