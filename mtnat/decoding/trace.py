"""A record of mask-predict on one line, pass by pass."""

from dataclasses import dataclass

import torch

from mtnat.data.vocabulary import Vocabularies
from mtnat.decoding.batching import pad
from mtnat.decoding.mask_predict import MaskPredictSearch
from mtnat.decoding.replay import Pass
from mtnat.decoding.rerank import RerankedSearch
from mtnat.decoding.search import Search
from mtnat.decoding.translate import parts_of
from mtnat.model import Translator, computing_in, resolve_precision


@dataclass(frozen=True)
class TracedPass:
    """The length candidate that is best in the end, after one pass."""

    number: int
    """Number of the pass, from 1."""
    pieces: tuple[str, ...]
    """The target pieces, with ``▁`` for a space."""
    is_masked: tuple[bool, ...]
    """Whether this pass predicted each piece."""
    is_changed: tuple[bool, ...]
    """Whether this pass changed each piece."""
    score: float
    """Mean log-probability of the pieces."""
    lengths: tuple[int, ...]
    """Lengths of all remaining length candidates, the likeliest first."""


@dataclass(frozen=True)
class Trace:
    """The passes that translated a line, or one part of a line that was translated in parts."""

    passes: tuple[TracedPass, ...]
    """The passes that predicted at least one piece."""
    text: str
    """The translation."""


def traceable(search: Search) -> MaskPredictSearch | None:
    """Returns the mask-predict of a search, whose candidates may be reranked; None if it is another kind of search."""
    inner = search.search if isinstance(search, RerankedSearch) else search
    return inner if isinstance(inner, MaskPredictSearch) else None


def trace(translator: Translator, vocabularies: Vocabularies, line: str, search: Search) -> list[Trace]:
    """Translates each part of a line. Most lines have one part; an empty line has none.

    Args:
        search: one that is `traceable`.
    """
    [pieces] = vocabularies.source.encode([line])
    was_training = translator.training
    translator.eval()
    try:
        parts = parts_of(translator, vocabularies.source, line, pieces)
        return [_trace_part(translator, vocabularies, part, search) for part in parts if part]
    finally:
        translator.train(was_training)


@torch.inference_mode()
def _trace_part(translator: Translator, vocabularies: Vocabularies, source: list[int], search: Search) -> Trace:
    mask_predict = traceable(search)
    assert mask_predict is not None
    device, config = translator.target_tokens.weight.device, mask_predict.config
    with computing_in(resolve_precision(config.precision, device), device):
        encoded = translator.encode(pad([source], device))
        [[winner]] = search(encoded, 1)
        passes = mask_predict.replay(encoded, winner).passes
    [text] = vocabularies.target.decode([winner.tokens])
    return Trace(tuple(_traced(vocabularies, each) for each in passes), text)


def _traced(vocabularies: Vocabularies, each: Pass) -> TracedPass:
    return TracedPass(
        number=each.number,
        pieces=tuple(vocabularies.target.piece(token) for token in each.tokens),
        is_masked=each.is_masked,
        is_changed=each.is_changed,
        score=each.score,
        lengths=tuple(candidate.length for candidate in each.candidates),
    )
