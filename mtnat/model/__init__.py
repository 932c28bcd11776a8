"""The Transformer: a shared encoder, decoders, and the translator that holds them."""

from mtnat.model.attention import Tap
from mtnat.model.config import ModelConfig
from mtnat.model.precision import Precision, computing_in, precision_name, resolve_precision
from mtnat.model.stacks import AtCache, Decoder, Encoded, Memory
from mtnat.model.target_decoder import TargetDecoder
from mtnat.model.translator import BranchesOf, Translator

__all__ = [
    "AtCache",
    "BranchesOf",
    "Decoder",
    "Encoded",
    "Memory",
    "ModelConfig",
    "Precision",
    "Tap",
    "TargetDecoder",
    "Translator",
    "computing_in",
    "precision_name",
    "resolve_precision",
]
