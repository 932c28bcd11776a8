"""What mask-predict did to one line, pass by pass."""

from dataclasses import dataclass

import torch

from mtnat.data.vocabulary import Vocabularies
from mtnat.decoding.batching import pad
from mtnat.decoding.config import DecodingConfig
from mtnat.decoding.mask_predict import likeliest_lengths, mask_predict, refine
from mtnat.decoding.search import parts_of
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


def trace(translator: Translator, vocabularies: Vocabularies, line: str, config: DecodingConfig) -> list[list[TracedPass]]:
    """The passes over each part of a line that predicted something; most lines have one part, an empty one has none."""
    [pieces] = vocabularies.source.encode([line])
    was_training = translator.training
    translator.eval()
    try:
        parts = parts_of(translator, vocabularies.source, line, pieces)
        return [_trace_part(translator, vocabularies, part, config) for part in parts if part]
    finally:
        translator.train(was_training)


@torch.inference_mode()
def _trace_part(
    translator: Translator, vocabularies: Vocabularies, source: list[int], config: DecodingConfig
) -> list[TracedPass]:
    device = translator.target_tokens.weight.device
    source_1S = pad([source], device)
    with computing_in(resolve_precision(config.precision, device), device):
        [[winner]] = mask_predict(translator, source_1S, config)
        length, passes = len(winner.tokens), list[TracedPass]()
        encoded = translator.encode(source_1S)
        lengths_1K = likeliest_lengths(translator, encoded, config.length_candidates)
        for number, found in enumerate(refine(translator, encoded, lengths_1K, config), 1):
            lengths = tuple(found.lengths_BK[0].tolist())
            place = 0, lengths.index(length)
            if not bool(found.is_masked_BKT[place].any()):
                continue
            passes.append(
                TracedPass(
                    number=number,
                    pieces=tuple(vocabularies.target.piece(token) for token in found.tokens_BKT[place][:length].tolist()),
                    is_masked=tuple(found.is_masked_BKT[place][:length].tolist()),
                    is_changed=tuple(found.is_changed_BKT[place][:length].tolist()),
                    score=float(found.means()[place]),
                    lengths=lengths,
                )
            )
    return passes
