"""Validation: all workers decode a part of a data split, and the translations are scored."""

import time
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from mtnat.data import Split
from mtnat.errors import ResourceError
from mtnat.evaluation import Score, bleu
from mtnat.training.memory import running_out_raises
from mtnat.training.model import Model
from mtnat.training.workers import Workers


@dataclass(frozen=True)
class Scored:
    """The translations of a data split and their BLEU score."""

    translations: tuple[str, ...]
    bleu: Score
    seconds: float
    """Wall-clock time of decoding."""


def evaluate_split(model: Model, split: Split, workers: Workers, sentences: int = 0) -> Scored:
    """Decodes a split with the experiment's settings and scores it with sacreBLEU.

    Args:
        sentences: number of sentences to decode, from the first; 0 is all.

    Raises:
        ResourceError: decoding ran out of memory.
    """
    started = time.perf_counter()
    sources = split.sources[:sentences] if sentences else split.sources
    # Modules compiled for training would be compiled again for the shapes of decoding, so decoding runs eagerly.
    eagerly = torch.compiler.set_stance("force_eager") if model.experiment.training.compile else nullcontext()
    tokens = model.experiment.decoding.max_tokens_per_batch
    too_many = f"decoding.max_tokens_per_batch: decoding ran out of memory; got {tokens or 'its default'}; lower it."
    with eagerly, running_out_raises(ResourceError(too_many)):
        shares = workers.gather([line.text for line in model.translate(sources[workers.rank :: workers.size])])
    translations = [""] * len(sources)
    for rank, share in enumerate(shares):
        translations[rank :: workers.size] = share
    seconds = time.perf_counter() - started
    return Scored(tuple(translations), bleu(translations, split.references[: len(sources)]), seconds)
