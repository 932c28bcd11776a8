"""The Transformer with a shared encoder and two decoders."""

from mtnat.model.config import ModelConfig
from mtnat.model.stacks import AtCache, Memory
from mtnat.model.translator import Encoded, Translator

__all__ = ["AtCache", "Encoded", "Memory", "ModelConfig", "Translator"]
