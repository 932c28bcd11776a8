"""Both searches as plainly as they can be written: one sentence, one hypothesis, all logits recomputed in every pass."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from translators import at, nat, translator_of

from mtnat.decoding import Decoding, MaskPredictDecoding
from mtnat.model import Encoded, ModelConfig, TargetDecoder, Translator
from mtnat.tokens import BOS, EOS, MASK, SPECIAL

VOCABULARY = 30


def random_translator(
    seed: int, *, vocabulary: int = VOCABULARY, max_positions: int = 24, kind: type[TargetDecoder] = TargetDecoder
) -> Translator:
    """A small translator with weights so large that its predictions are confident and varied.

    Args:
        kind: of the AT decoder.
    """
    torch.manual_seed(seed)
    config = ModelConfig(
        width=16, heads=2, feed_forward=32, encoder_layers=1, decoder_layers=2, norm="pre", max_positions=max_positions
    )
    translator = translator_of(config, vocabulary)
    if kind is not TargetDecoder:
        with torch.random.fork_rng():
            at(translator).decoder = kind(config, translator.target_tokens, causal=True)
    for parameter in translator.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return translator.eval()


def random_sources(seed: int, lengths: Sequence[int], vocabulary: int = VOCABULARY) -> list[list[int]]:
    torch.manual_seed(seed)
    return [torch.randint(len(SPECIAL), vocabulary, (length,)).tolist() for length in lengths]


def log_probabilities(logits_V: Tensor, forbidden: Sequence[int]) -> list[float]:
    logits_V = logits_V.clone()
    logits_V[list(forbidden)] = -torch.inf
    scores: list[float] = logits_V.log_softmax(dim=0).tolist()
    return scores


Found = list[tuple[tuple[int, ...], float]]
"""Pieces and score of the best hypotheses, the best first."""


@torch.no_grad()
def plain_mask_predict(translator: Translator, source: Sequence[int], config: MaskPredictDecoding, n_best: int = 1) -> Found:
    encoded = translator.encode(torch.tensor([[*source, EOS]]))
    length_scores = nat(translator).length_logits(encoded)[0].tolist()
    most = 2 * len(source) + 10
    lengths = sorted(range(1, len(length_scores)), key=lambda length: (length > most, -length_scores[length]))
    candidates = [_Candidate(length) for length in lengths[: config.length_candidates]]
    passes = config.iterations
    if config.pieces_per_iteration:
        passes = min(passes, max(1, math.ceil(lengths[0] / config.pieces_per_iteration)))
    unchanged = 0

    def score(candidate: _Candidate) -> float:
        if config.rerank == "at":
            return plain_at_score(translator, encoded, candidate.tokens[:-1], config.length_penalty)
        return candidate.mean

    for done in range(config.iterations):
        if 0 < done == config.narrow_after:
            candidates = sorted(candidates, key=lambda candidate: -candidate.mean)[: config.narrow_to]
        if not config.stop_unchanged or unchanged < config.stop_unchanged:
            changes = [candidate.predict(translator, encoded, done, passes) for candidate in candidates]
            unchanged = 0 if any(changes) else unchanged + 1
    best = sorted(candidates, key=score, reverse=True)[:n_best]
    return [(tuple(candidate.tokens[:-1]), score(candidate)) for candidate in best]


class _Candidate:
    """One length."""

    def __init__(self, length: int) -> None:
        self.tokens, self.scores = [MASK] * length + [EOS], [0.0] * length

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)

    def predict(self, translator: Translator, encoded: Encoded, done: int, passes: int) -> bool:
        """Whether a pass after so many others changes a piece."""
        length, before = len(self.scores), list(self.tokens)
        count = length * max(0, passes - done) // passes
        masked = sorted(range(length), key=lambda place: self.scores[place])[:count]
        for place in masked:
            self.tokens[place] = MASK
        logits_TV = nat(translator).decoder.logits(encoded, torch.tensor([self.tokens]))[0]
        for place in masked:
            row = log_probabilities(logits_TV[place], SPECIAL)
            self.scores[place] = max(row)
            self.tokens[place] = row.index(self.scores[place])
        return self.tokens != before


def plain_at_score(translator: Translator, encoded: Encoded, pieces: Sequence[int], penalty: float) -> float:
    """Log-probability of the pieces and EOS by the AT decoder, divided by length^penalty."""
    logits_TV = at(translator).decoder.logits(encoded, torch.tensor([[BOS, *pieces]]))[0]
    rows = [log_probabilities(logits_V, [token for token in SPECIAL if token != EOS]) for logits_V in logits_TV]
    total = sum(row[token] for row, token in zip(rows, [*pieces, EOS], strict=True))
    return total / math.pow(len(pieces) + 1, penalty)


@torch.no_grad()
def plain_beam_search(translator: Translator, source: Sequence[int], config: Decoding, n_best: int = 1) -> Found:
    """The best of the first `beam` finished hypotheses, with no other reason to stop early."""
    encoded = translator.encode(torch.tensor([[*source, EOS]]))
    beam, limit = config.beam, min(2 * len(source) + 10, translator.config.max_positions - 1)
    alive: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[tuple[float, list[int]]] = []
    while len(finished) < beam and alive:
        continued = []
        for total, pieces in alive:
            logits_V = at(translator).decoder.logits(encoded, torch.tensor([[BOS, *pieces]]))[0, -1]
            row = log_probabilities(logits_V, [token for token in SPECIAL if token != EOS])
            allowed = [EOS] if len(pieces) == limit else [EOS, *range(len(SPECIAL), len(row))]
            continued += [(total + row[token], [*pieces, token]) for token in allowed]
        continued.sort(key=lambda pair: -pair[0])
        finished += [
            (total / len(tokens) ** config.length_penalty, tokens) for total, tokens in continued[:beam] if tokens[-1] == EOS
        ]
        alive = [pair for pair in continued if pair[1][-1] != EOS][:beam]
    finished.sort(key=lambda pair: -pair[0])
    return [(tuple(tokens[:-1]), score) for score, tokens in finished[:n_best]]
