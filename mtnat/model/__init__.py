"""The Transformer with a shared encoder and two decoders."""

from mtnat.model.config import ModelConfig
from mtnat.model.precision import Precision, computing_in, precision_name, resolve_precision
from mtnat.model.stacks import AtCache, Memory
from mtnat.model.translator import Encoded, Translator

__all__ = [
    "AtCache",
    "Encoded",
    "Memory",
    "ModelConfig",
    "Precision",
    "Translator",
    "computing_in",
    "precision_name",
    "resolve_precision",
]
