"""Corpora, vocabularies, tokens on disk, and batches of them."""

from mtnat.data.batches import Batch, BatchStream, Position
from mtnat.data.config import DataConfig
from mtnat.data.dataset import Dataset, Split, check, prepare
from mtnat.data.store import TokenStore
from mtnat.data.vocabulary import Vocabularies, Vocabulary

__all__ = [
    "Batch",
    "BatchStream",
    "DataConfig",
    "Dataset",
    "Position",
    "Split",
    "TokenStore",
    "Vocabularies",
    "Vocabulary",
    "check",
    "prepare",
]
