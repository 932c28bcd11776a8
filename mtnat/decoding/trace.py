"""A record of mask-predict on one line, pass by pass."""

from copy import deepcopy
from dataclasses import dataclass

import torch

from mtnat.data.vocabulary import Vocabularies
from mtnat.decoding.batching import pad
from mtnat.decoding.mask_predict import Candidates, MaskPredictSearch, likeliest_lengths, refine
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
        lengths_1K = likeliest_lengths(mask_predict.length_head, encoded, config.length_candidates)
        # The best candidate is only known after the last pass, so the states of all candidates are kept.
        states = [deepcopy(found) for found in refine(mask_predict.decoder, encoded, lengths_1K, config)]
        [[winner]] = search(encoded, 1)
    passes = (_traced(vocabularies, number, state, len(winner.tokens)) for number, state in enumerate(states, 1))
    [text] = vocabularies.target.decode([winner.tokens])
    return Trace(tuple(each for each in passes if any(each.is_masked)), text)


def _traced(vocabularies: Vocabularies, number: int, state: Candidates, length: int) -> TracedPass:
    """Returns the state of the candidate with this length after one pass."""
    lengths = tuple(state.lengths_BK[0].tolist())
    place = 0, lengths.index(length)
    return TracedPass(
        number=number,
        pieces=tuple(vocabularies.target.piece(token) for token in state.tokens_BKT[place][:length].tolist()),
        is_masked=tuple(state.is_masked_BKT[place][:length].tolist()),
        is_changed=tuple(state.is_changed_BKT[place][:length].tolist()),
        score=float(state.means()[place]),
        lengths=lengths,
    )
