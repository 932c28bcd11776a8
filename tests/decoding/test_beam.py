"""Beam search against the plain search, greedy search and an exhaustive search."""

import itertools
import math

import pytest
import torch
from plain_searches import log_probabilities, plain_beam_search, random_sources, random_translator
from torch import Tensor
from translators import at

from mtnat.decoding import Hypothesis, MaskPredictDecoding, decode
from mtnat.model import AtCache, TargetDecoder, Translator
from mtnat.tokens import BOS, EOS, SPECIAL


class Endless(TargetDecoder):
    """An AT decoder that almost never predicts EOS."""

    def vocabulary_logits(self, states: Tensor) -> Tensor:
        logits = super().vocabulary_logits(states)
        logits[..., EOS] = -50.0
        return logits


class Hasty(TargetDecoder):
    """An AT decoder that could end anywhere, so that finished hypotheses and those that go on compete at every step."""

    def vocabulary_logits(self, states: Tensor) -> Tensor:
        logits = super().vocabulary_logits(states)
        logits[..., EOS] = logits.max(dim=-1).values - 0.5
        return logits


A, B, C = 5, 6, 7
# What may follow each token, and with which probability.
AFTER = {BOS: {EOS: 0.40, A: 0.35, B: 0.25}, A: {A: 0.6, B: 0.4}, B: {C: 1.0}, C: {EOS: 1.0}}


class ByTheBook(TargetDecoder):
    """An AT decoder that looks up what follows the last token."""

    def step(self, cache: AtCache, token_BK: Tensor) -> Tensor:
        logits_BKV = torch.full_like(super().step(cache, token_BK), -torch.inf)
        for place, last in enumerate(token_BK[0].tolist()):
            for token, probability in AFTER.get(last, {EOS: 1.0}).items():
                logits_BKV[0, place, token] = math.log(probability)
        return logits_BKV


def beam_search(
    translator: Translator, sources: list[list[int]], config: MaskPredictDecoding, n_best: int = 1
) -> list[list[Hypothesis]]:
    return decode(translator, sources, config, at(translator).search(config), n_best)


@pytest.mark.parametrize(
    ("beam", "penalty", "tokens", "score", "passes"),
    [
        # Greedy: EOS is the likeliest first token.
        (1, 1.0, (), math.log(0.40), 1),
        # Step 1: EOS ends at ln 0.4 = −0.92; the two best that do not end go on, A and B, though B is only third of all.
        # Step 2: B C (0.25), A A (0.21). Step 3: B C EOS ends at ln 0.25 / 3 = −0.46; two have ended, which is enough.
        (2, 1.0, (B, C), math.log(0.25) / 3, 3),
        # Three must end: A B C EOS does in step 4, at ln 0.14 / 4 = −0.49.
        (3, 1.0, (B, C), math.log(0.25) / 3, 4),
        # Without a penalty nothing that goes on can beat 0.4: the first step is the last.
        (3, 0.0, (), math.log(0.40), 1),
    ],
)
def test_beam_search_matches_cases_worked_by_hand(
    beam: int, penalty: float, tokens: tuple[int, ...], score: float, passes: int
) -> None:
    translator = random_translator(1, vocabulary=8, kind=ByTheBook)
    config = MaskPredictDecoding(beam=beam, length_penalty=penalty)
    with torch.inference_mode():
        [[hypothesis]] = at(translator).search(config)(translator.encode(torch.tensor([[A, EOS]])), 1)
    assert (hypothesis.tokens, hypothesis.passes) == (tokens, passes)
    assert hypothesis.score == pytest.approx(score)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", [TargetDecoder, Hasty])
@pytest.mark.parametrize(("beam", "penalty"), [(1, 1.0), (2, 0.0), (4, 1.0), (5, 0.6)])
def test_beam_search_finds_the_same_hypothesis_as_the_plain_search(
    seed: int, kind: type[TargetDecoder], beam: int, penalty: float
) -> None:
    translator = random_translator(seed, kind=kind)
    sources = random_sources(seed, lengths=[3, 1, 6])
    config = MaskPredictDecoding(beam=beam, length_penalty=penalty)
    for source, [hypothesis] in zip(sources, beam_search(translator, sources, config), strict=True):
        [(tokens, score)] = plain_beam_search(translator, source, config)
        assert hypothesis.score == pytest.approx(score, rel=1e-4)
        assert hypothesis.tokens == tokens


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", [TargetDecoder, Hasty])
@pytest.mark.parametrize(("beam", "n_best"), [(2, 2), (5, 3), (5, 5)])
def test_beam_search_finds_the_same_n_best_hypotheses_as_the_plain_search(
    seed: int, kind: type[TargetDecoder], beam: int, n_best: int
) -> None:
    translator = random_translator(seed, kind=kind)
    sources = random_sources(seed, lengths=[3, 1, 6])
    config = MaskPredictDecoding(beam=beam)
    for source, best in zip(sources, beam_search(translator, sources, config, n_best), strict=True):
        expected = plain_beam_search(translator, source, config, n_best)
        assert [hypothesis.tokens for hypothesis in best] == [tokens for tokens, _ in expected]
        assert [hypothesis.score for hypothesis in best] == pytest.approx([score for _, score in expected], rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("seed", range(4))
def test_a_beam_of_one_is_greedy_search(seed: int) -> None:
    translator = random_translator(seed)
    sources = random_sources(seed, lengths=[2, 5])
    hypotheses = beam_search(translator, sources, MaskPredictDecoding(beam=1))
    for source, [hypothesis] in zip(sources, hypotheses, strict=True):
        encoded = translator.encode(torch.tensor([[*source, EOS]]))
        pieces: list[int] = []
        while len(pieces) < min(2 * len(source) + 10, 23):
            logits_V = at(translator).decoder.logits(encoded, torch.tensor([[BOS, *pieces]]))[0, -1]
            row = log_probabilities(logits_V, [token for token in SPECIAL if token != EOS])
            if row.index(max(row)) == EOS:
                break
            pieces.append(row.index(max(row)))
        assert hypothesis.tokens == tuple(pieces)
        assert hypothesis.passes == len(pieces) + 1


@torch.no_grad()
@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_as_wide_as_the_search_space_finds_the_best_translation(seed: int, penalty: float) -> None:
    translator = random_translator(seed, vocabulary=7, max_positions=8)  # two pieces, at most 7 of them: 255 translations
    source_BS = torch.tensor([[5, 6, EOS]])
    config = MaskPredictDecoding(beam=256, length_penalty=penalty)
    [[hypothesis]] = at(translator).search(config)(translator.encode(source_BS), 1)

    every = [pieces for length in range(8) for pieces in itertools.product((5, 6), repeat=length)]
    inputs_NT = torch.tensor([[BOS, *pieces, *[5] * (7 - len(pieces))] for pieces in every])
    logits_NTV = at(translator).decoder.logits(translator.encode(source_BS.expand(255, -1)), inputs_NT)
    scores = {}
    for pieces, logits_TV in zip(every, logits_NTV, strict=True):
        rows = [log_probabilities(logits_V, [token for token in SPECIAL if token != EOS]) for logits_V in logits_TV]
        total = sum(row[token] for row, token in zip(rows, (*pieces, EOS), strict=False))
        scores[pieces] = total / (len(pieces) + 1) ** penalty
    best = max(scores, key=lambda pieces: scores[pieces])
    assert hypothesis.tokens == best
    assert hypothesis.score == pytest.approx(scores[best], rel=1e-4)


@pytest.mark.parametrize(("max_positions", "longest"), [(9, 8), (40, 16)])  # the model's positions, or 2·3 + 10
@pytest.mark.parametrize("beam", [1, 3])
def test_a_hypothesis_without_eos_ends_at_the_length_limit(max_positions: int, longest: int, beam: int) -> None:
    translator = random_translator(1, max_positions=max_positions, kind=Endless)
    [[hypothesis]] = beam_search(translator, [[7, 8, 9]], MaskPredictDecoding(beam=beam))
    assert len(hypothesis.tokens) == longest
    assert hypothesis.passes == longest + 1
    assert hypothesis.score < -50 / (longest + 1)
