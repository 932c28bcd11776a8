"""Both searches as plainly as they can be written: one sentence, one hypothesis, all logits anew in every pass."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mtnat.model import ModelConfig, Translator
from mtnat.tokens import BOS, EOS, MASK, SPECIAL

VOCABULARY = 30


def random_translator(
    seed: int, *, vocabulary: int = VOCABULARY, max_positions: int = 24, kind: type[Translator] = Translator
) -> Translator:
    """A small translator with weights so large that it is sure of what it says and says different things."""
    torch.manual_seed(seed)
    config = ModelConfig(
        width=16, heads=2, feed_forward=32, encoder_layers=1, decoder_layers=2, norm="pre", max_positions=max_positions
    )
    translator = kind(config, source_vocabulary_size=vocabulary, target_vocabulary_size=vocabulary, joint=True)
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


@torch.no_grad()
def plain_mask_predict(
    translator: Translator, source: Sequence[int], iterations: int, candidates: int
) -> tuple[tuple[int, ...], float]:
    """Pieces and mean log-probability of the best candidate."""
    encoded = translator.encode(torch.tensor([[*source, EOS]]))
    length_scores = translator.length_logits(encoded)[0].tolist()
    most = 2 * len(source) + 10
    lengths = sorted(range(1, len(length_scores)), key=lambda length: (length > most, -length_scores[length]))[:candidates]
    found = []
    for length in lengths:
        tokens, scores = [MASK] * length + [EOS], [0.0] * length
        masked = list(range(length))
        for done in range(1, iterations + 1):
            for place in masked:
                tokens[place] = MASK
            logits_TV = translator.nat_logits(encoded, torch.tensor([tokens]))[0]
            for place in masked:
                row = log_probabilities(logits_TV[place], SPECIAL)
                scores[place] = max(row)
                tokens[place] = row.index(scores[place])
            count = length * (iterations - done) // iterations
            masked = sorted(range(length), key=lambda place: scores[place])[:count]
        found.append((sum(scores) / length, tuple(tokens[:-1])))
    score, pieces = max(found, key=lambda pair: pair[0])
    return pieces, score


@torch.no_grad()
def plain_beam_search(
    translator: Translator, source: Sequence[int], beam: int, penalty: float
) -> tuple[tuple[int, ...], float]:
    """Pieces and score of the best of the first `beam` finished hypotheses, with no other reason to stop early."""
    encoded = translator.encode(torch.tensor([[*source, EOS]]))
    limit = min(2 * len(source) + 10, translator.config.max_positions - 1)
    alive: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[tuple[float, list[int]]] = []
    while len(finished) < beam and alive:
        continued = []
        for total, pieces in alive:
            logits_V = translator.at_logits(encoded, torch.tensor([[BOS, *pieces]]))[0, -1]
            row = log_probabilities(logits_V, [token for token in SPECIAL if token != EOS])
            allowed = [EOS] if len(pieces) == limit else [EOS, *range(len(SPECIAL), len(row))]
            continued += [(total + row[token], [*pieces, token]) for token in allowed]
        continued.sort(key=lambda pair: -pair[0])
        finished += [(total / len(tokens) ** penalty, tokens) for total, tokens in continued[:beam] if tokens[-1] == EOS]
        alive = [pair for pair in continued if pair[1][-1] != EOS][:beam]
    score, tokens = max(finished, key=lambda pair: pair[0])
    return tuple(tokens[:-1]), score
