"""What mask-predict did to one line, pass by pass."""

from copy import deepcopy
from dataclasses import dataclass

import torch

from mtnat.data.vocabulary import Vocabularies
from mtnat.decoding.batching import pad
from mtnat.decoding.mask_predict import Candidates, MaskPredictSearch, likeliest_lengths, refine
from mtnat.decoding.translate import parts_of
from mtnat.model import Translator, computing_in, resolve_precision


@dataclass(frozen=True)
class TracedPass:
    """The winning length candidate after one pass."""

    number: int
    """1 is the first."""
    pieces: tuple[str, ...]
    """The target, with ``▁`` for a space."""
    is_masked: tuple[bool, ...]
    """Which pieces this pass predicted."""
    is_changed: tuple[bool, ...]
    """Which of them are others than before."""
    score: float
    """Mean log-probability of the pieces."""
    lengths: tuple[int, ...]
    """Of all length candidates that are still in the race, the likeliest first."""


@dataclass(frozen=True)
class Trace:
    """How a line, or a part of one that was translated in parts, came about."""

    passes: tuple[TracedPass, ...]
    """Those that predicted something."""
    text: str
    """The translation."""


def trace(translator: Translator, vocabularies: Vocabularies, line: str, search: MaskPredictSearch) -> list[Trace]:
    """Translates each part of a line; most lines have one part, an empty one has none."""
    [pieces] = vocabularies.source.encode([line])
    was_training = translator.training
    translator.eval()
    try:
        parts = parts_of(translator, vocabularies.source, line, pieces)
        return [_trace_part(translator, vocabularies, part, search) for part in parts if part]
    finally:
        translator.train(was_training)


@torch.inference_mode()
def _trace_part(translator: Translator, vocabularies: Vocabularies, source: list[int], search: MaskPredictSearch) -> Trace:
    device, config = translator.target_tokens.weight.device, search.config
    with computing_in(resolve_precision(config.precision, device), device):
        encoded = translator.encode(pad([source], device))
        lengths_1K = likeliest_lengths(search.length_head, encoded, config.length_candidates)
        # Who wins is known at the end, so every pass is kept with all candidates.
        states = []
        for found in refine(search.decoder, encoded, lengths_1K, config):
            states.append(deepcopy(found))
        [[winner]] = search.ranked(encoded, found, n_best=1)
    passes = (_traced(vocabularies, number, state, len(winner.tokens)) for number, state in enumerate(states, 1))
    [text] = vocabularies.target.decode([winner.tokens])
    return Trace(tuple(each for each in passes if any(each.is_masked)), text)


def _traced(vocabularies: Vocabularies, number: int, state: Candidates, length: int) -> TracedPass:
    """One pass over the candidate of that length."""
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
