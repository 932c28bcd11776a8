"""Evaluation of a model on a test set: quality of its translations and speed of decoding."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from mtnat.decoding import DecoderName, Decoding
from mtnat.evaluation import (
    LengthAccuracy,
    LengthBucket,
    Score,
    bleu,
    bleu_by_length,
    chrf,
    length_accuracy,
    repeated_share,
    ter,
)
from mtnat.training.model import Model


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A model's translations of a test set, with their scores and the time they took."""

    translations: tuple[str, ...]
    bleu: Score
    chrf: Score
    ter: Score
    """Lower is better."""
    bleu_by_length: tuple[LengthBucket, ...]
    lengths: LengthAccuracy
    repeated: float
    """Fraction of the hypotheses' pieces that equal the piece before them."""
    repeated_in_references: float
    """The same fraction for the references, encoded with the model's vocabulary."""
    passes: float
    """Mean number of decoder passes per sentence."""
    fallback: float
    """Fraction of the sentences that the AT decoder has translated because the NAT decoder's translation scored below
    `decoding.fallback_below`."""
    seconds: float
    """Wall-clock time from source lines to translated lines."""
    sentences_per_second: float
    decoder: DecoderName
    decoding: Decoding


def evaluate(
    model: Model,
    sources: Sequence[str],
    references: Sequence[str],
    decoding: Decoding | None = None,
    decoder: DecoderName | None = None,
) -> Evaluation:
    """Translates the sources and scores the translations against the references.

    Args:
        decoding: settings of decoding; by default the experiment's.
        decoder: the decoder that translates; by default the experiment's.

    Raises:
        UserError: the model was trained without a decoder that is needed.
        DataError: there are no sentences, the numbers of sources and references differ, or the references contain no text.
    """
    config = decoding or model.experiment.decoding
    chosen = decoder or model.experiment.decoder
    model.translate(sources[:1], config, chosen)  # warm-up: a device loads kernels in the first call
    started = time.perf_counter()
    best = [line.translations[0] for line in model.translate(sources, config, chosen)]
    seconds = time.perf_counter() - started
    translations = tuple(each.text for each in best)
    hypothesis_pieces = [each.tokens for each in best]
    reference_pieces = model.vocabularies.target.encode(references)
    return Evaluation(
        translations=translations,
        bleu=bleu(translations, references),
        chrf=chrf(translations, references),
        ter=ter(translations, references),
        bleu_by_length=bleu_by_length(sources, translations, references),
        lengths=length_accuracy(hypothesis_pieces, reference_pieces),
        repeated=repeated_share(hypothesis_pieces),
        repeated_in_references=repeated_share(reference_pieces),
        passes=fmean(each.passes for each in best),
        fallback=fmean(each.fallback_passes > 0 for each in best),
        seconds=seconds,
        sentences_per_second=len(sources) / seconds,
        decoder=chosen,
        decoding=config,
    )
