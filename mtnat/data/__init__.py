"""Corpora, vocabularies, the token store on disk, and batches of sentence pairs."""

from mtnat.data.batches import Batch, BatchStream, EpochPlan, Position, padding_share
from mtnat.data.config import DataConfig
from mtnat.data.dataset import Dataset, Split, check, prepare
from mtnat.data.store import TokenStore, write_store
from mtnat.data.vocabulary import Vocabularies, Vocabulary

__all__ = [
    "Batch",
    "BatchStream",
    "DataConfig",
    "Dataset",
    "EpochPlan",
    "Position",
    "Split",
    "TokenStore",
    "Vocabularies",
    "Vocabulary",
    "check",
    "padding_share",
    "prepare",
    "write_store",
]
