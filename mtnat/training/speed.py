"""The speed of a model: all sentences together, and some one at a time."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from statistics import fmean, median

import torch
from pydantic import Field

from mtnat.config import Record
from mtnat.decoding import TranslatedLine
from mtnat.training.model import Model

_WARM_UP = 3


class Speed(Record):
    """The speed of a model on one device, with its experiment's settings of decoding."""

    sentences_per_second: float = Field(gt=0)
    """Sentences that are translated together, in batches, from source lines to translated lines."""
    latency: float = Field(gt=0)
    """Median time to translate a single sentence, in seconds."""
    passes: float = Field(ge=0)
    """Mean number of decoder passes of a sentence, one after the other."""
    layers: float = Field(ge=0)
    """Mean number of layers of a sentence that run one after the other: those of the encoder, and those of the decoder in every
    pass. A pass of the AT decoder over finished translations (reranking, fallback) counts too. Unlike the times, this number
    does not depend on the machine."""


def measure_speed(model: Model, sources: Sequence[str], singles: int) -> Speed:
    """Translates all sources together, and then some of them one at a time, at even spacing.

    Args:
        singles: number of sentences that are translated one at a time; at most all.
    """
    count = min(singles, len(sources))
    alone = [sources[number * len(sources) // count] for number in range(count)]
    # Modules compiled for training would be compiled again for the shapes of decoding, so decoding runs eagerly.
    with torch.compiler.set_stance("force_eager") if model.experiment.training.compile else nullcontext():
        for line in alone[:_WARM_UP]:
            _timed(model, [line])
        latency = median(_timed(model, [line])[0] for line in alone)
        seconds, lines = _timed(model, sources)
    passes = fmean(line.translations[0].passes for line in lines)
    sizes, decoding = model.experiment.model, model.experiment.decoding
    has_at_scores = decoding.rerank == "at" or (decoding.fallback_below is not None and decoding.fallback_score == "at")
    return Speed(
        sentences_per_second=len(sources) / seconds,
        latency=latency,
        passes=passes,
        layers=sizes.encoder_layers + (passes + has_at_scores) * sizes.decoder_layers,
    )


def _timed(model: Model, lines: Sequence[str]) -> tuple[float, list[TranslatedLine]]:
    """Translates lines; returns the seconds, and the translations, which are on the host."""
    started = time.perf_counter()
    found = model.translate(lines)
    return time.perf_counter() - started, found
