"""Mask-predict on cases worked by hand, and against the plain search."""

import math
from collections.abc import Mapping

import pytest
import torch
from plain_searches import plain_mask_predict, random_sources, random_translator
from torch import Tensor, nn
from translators import at, nat, translator_of

from mtnat.config import build
from mtnat.decoding import Hypothesis, MaskPredictDecoding, decode
from mtnat.decoding.rerank import at_scores
from mtnat.model import Encoded, Memory, ModelConfig, Precision, TargetDecoder, Translator
from mtnat.model.lengths import LengthHead
from mtnat.systems import search_of
from mtnat.tokens import EOS, MASK, PAD, SPECIAL

A, B, C = 5, 6, 7
Prediction = tuple[int, float]  # the likeliest piece and its probability; the other two share the rest
Book = dict[tuple[int, ...], list[Prediction]]


class ByTheBook:
    """A translator whose NAT decoder looks its predictions up: for each input, the prediction at each place.

    An input that is not in the book is an error, so the book says which tokens are masked before which pass.
    """

    def __init__(self, lengths: list[int], book: Book) -> None:
        config = ModelConfig(width=8, heads=1, feed_forward=8, encoder_layers=1, decoder_layers=1, max_positions=8)
        self.translator = translator_of(config, vocabulary=8)
        self.decoder = BookDecoder(config, self.translator.target_tokens, book)
        nat(self.translator).decoder = self.decoder
        nat(self.translator).length_head = BookLengths(config, lengths)

    @property
    def asked(self) -> list[tuple[int, ...]]:
        return self.decoder.asked


class BookLengths(LengthHead):
    def __init__(self, config: ModelConfig, lengths: list[int]) -> None:
        super().__init__(config)
        self.lengths = lengths

    def forward(self, states_BSD: Tensor, is_padding_BS: Tensor) -> Tensor:
        logits_BP = torch.full((len(states_BSD), 8), -9.0)
        logits_BP[:, 0] = -torch.inf
        for rank, length in enumerate(self.lengths):
            logits_BP[:, length] = -float(rank)
        return logits_BP


class BookDecoder(TargetDecoder):
    def __init__(self, config: ModelConfig, tokens: nn.Embedding, book: Book) -> None:
        super().__init__(config, tokens, causal=False)
        self.book = book
        self.asked: list[tuple[int, ...]] = []

    def states(
        self, source: Encoded | Memory, input_BT: Tensor, is_padded: bool | None = None, read_N: Tensor | None = None
    ) -> Tensor:
        probabilities_BTV = torch.full((*input_BT.shape, 8), 1e-9)
        probabilities_BTV[..., list(SPECIAL)] = 5.0  # never to be predicted, however likely
        for row, tokens in enumerate(input_BT.tolist()):
            key = tuple(token for token in tokens if token != PAD)
            self.asked.append(key)
            for place, (token, probability) in enumerate(self.book[key]):
                probabilities_BTV[row, place, [A, B, C]] = (1 - probability) / 2
                probabilities_BTV[row, place, token] = probability
        states = probabilities_BTV.log()
        return states if read_N is None else states.flatten(0, 1)[read_N]

    def vocabulary_logits(self, states: Tensor) -> Tensor:
        return states


@torch.inference_mode()
def mask_predict(book: ByTheBook, source_BS: Tensor, config: MaskPredictDecoding) -> list[list[Hypothesis]]:
    search = nat(book.translator).search(config)
    return search(book.translator.encode(source_BS), 1)


def found(
    translator: Translator, sources: list[list[int]], config: MaskPredictDecoding, n_best: int = 1
) -> list[list[Hypothesis]]:
    return decode(translator, sources, config, search_of(translator, "nat", config), n_best)


SOURCE = torch.tensor([[A, B, EOS]])


def test_four_pieces_in_three_passes_match_a_case_worked_by_hand() -> None:
    # 4 pieces, 3 passes: 4 are masked, then ⌊4·2/3⌋ = 2, then ⌊4·1/3⌋ = 1.
    book: Book = {
        # Everything is predicted; places 1 (0.4) and 2 (0.5) score lowest.
        (MASK, MASK, MASK, MASK, EOS): [(A, 0.9), (B, 0.4), (C, 0.5), (A, 0.7)],
        # They change to C and B. Places 0 and 3 keep token and score, though this pass would say otherwise.
        # Scores are now 0.9 0.6 0.8 0.7, so place 1 is masked again.
        (A, MASK, MASK, A, EOS): [(B, 0.99), (C, 0.6), (B, 0.8), (C, 0.99)],
        (A, MASK, B, A, EOS): [(B, 0.99), (B, 0.95), (C, 0.99), (B, 0.99)],
    }
    translator = ByTheBook([4], book)
    [[hypothesis]] = mask_predict(translator, SOURCE, MaskPredictDecoding(iterations=3, length_candidates=1))
    assert translator.asked == list(book)
    assert hypothesis.tokens == (A, B, B, A)
    assert hypothesis.score == pytest.approx((math.log(0.9) + math.log(0.95) + math.log(0.8) + math.log(0.7)) / 4)
    assert hypothesis.passes == 3


def test_the_length_with_the_better_mean_score_wins_and_short_lengths_need_fewer_passes() -> None:
    # 1 piece: ⌊1·1/2⌋ = 0 are masked after the first pass. 3 pieces: ⌊3·1/2⌋ = 1.
    book: Book = {
        (MASK, EOS): [(C, 0.6)],
        (MASK, MASK, MASK, EOS): [(A, 0.8), (B, 0.5), (C, 0.8)],
        (A, MASK, C, EOS): [(A, 0.4), (A, 0.5), (A, 0.4)],
        (C, EOS): [(A, 0.9)],  # nothing is masked in the shorter candidate, so this entry has no effect
    }
    [[both]] = mask_predict(ByTheBook([3, 1], book), SOURCE, MaskPredictDecoding(iterations=2, length_candidates=2))
    assert both.tokens == (A, A, C)  # ln 0.8·0.5·0.8 / 3 = −0.38, and ln 0.6 = −0.51
    assert both.score == pytest.approx(math.log(0.8 * 0.5 * 0.8) / 3)
    [[likeliest]] = mask_predict(ByTheBook([1, 3], book), SOURCE, MaskPredictDecoding(iterations=2, length_candidates=1))
    assert (likeliest.tokens, likeliest.passes) == ((C,), 1)
    assert likeliest.score == pytest.approx(math.log(0.6))


def test_the_leftmost_of_equally_scored_pieces_is_masked() -> None:
    book: Book = {
        (MASK, MASK, EOS): [(A, 0.5), (A, 0.5)],
        (MASK, A, EOS): [(B, 0.9), (C, 0.9)],
    }
    [[hypothesis]] = mask_predict(ByTheBook([2], book), SOURCE, MaskPredictDecoding(iterations=2, length_candidates=1))
    assert hypothesis.tokens == (B, A)


def test_more_length_candidates_than_lengths_use_every_length() -> None:
    book: Book = {(*[MASK] * length, EOS): [(A, length / 10 + 0.25)] * length for length in range(1, 8)}
    [[hypothesis]] = mask_predict(ByTheBook([2], book), SOURCE, MaskPredictDecoding(iterations=1, length_candidates=50))
    assert hypothesis.tokens == (A,) * 7


FAST: Mapping[str, object] = {**MaskPredictDecoding.presets["fast"], "precision": "fp32"}
"""The plain search rounds nothing to bf16, which `auto` does where the processor has it."""
OPTIONS = {
    "the paper's": {},
    "half as many passes as pieces": {"pieces_per_iteration": 2.0},
    "a pass a piece and a half": {"pieces_per_iteration": 1.5, "iterations": 3},
    "stops unchanged": {"stop_unchanged": 1},
    "stops unchanged after two": {"stop_unchanged": 2, "iterations": 20},
    "one candidate after the first pass": {"narrow_after": 1},
    "two candidates after three passes": {"narrow_after": 3, "narrow_to": 2},
    "reranked": {"rerank": "at"},
    "reranked without a penalty, more of them": {"rerank": "at", "length_penalty": 0.0, "length_candidates": 9},
    "fast": FAST,
    "all are stopped before they are fewer": {"narrow_after": 5, "pieces_per_iteration": 4.0},
    "fast and reranked": {**FAST, "rerank": "at"},
    "fast and reranked among three": {**FAST, "narrow_to": 3, "rerank": "at"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_mask_predict_finds_the_same_as_the_plain_search_with_any_options(options: Mapping[str, object], seed: int) -> None:
    translator = random_translator(seed)
    sources = random_sources(seed, lengths=[1, 9, 4, 6, 3])
    config = build(MaskPredictDecoding, options)
    for source, [hypothesis] in zip(sources, found(translator, sources, config), strict=True):
        [(tokens, score)] = plain_mask_predict(translator, source, config)
        assert hypothesis.tokens == tokens
        assert hypothesis.score == pytest.approx(score, rel=1e-4)


@pytest.mark.parametrize("iterations", [1, 2, 4, 10, 30])
@pytest.mark.parametrize("candidates", [1, 5])
def test_mask_predict_finds_the_same_n_best_as_the_plain_search(iterations: int, candidates: int) -> None:
    translator = random_translator(seed=iterations)
    sources = random_sources(seed=iterations, lengths=[1, 9, 4, 6])
    config = MaskPredictDecoding(iterations=iterations, length_candidates=candidates)
    for source, best in zip(sources, found(translator, sources, config, n_best=candidates), strict=True):
        expected = plain_mask_predict(translator, source, config, n_best=candidates)
        assert [hypothesis.tokens for hypothesis in best] == [tokens for tokens, _ in expected]
        assert [hypothesis.score for hypothesis in best] == pytest.approx([score for _, score in expected], rel=1e-4)


def test_a_sentence_that_a_pass_leaves_unchanged_is_finished() -> None:
    # 4 pieces, 4 passes: 4, 3, 2, 1 are masked; the second pass changes nothing, so there is no third.
    book: Book = {
        (MASK, MASK, MASK, MASK, EOS): [(A, 0.9), (B, 0.4), (C, 0.5), (A, 0.7)],
        (A, MASK, MASK, MASK, EOS): [(B, 0.99), (B, 0.6), (C, 0.8), (A, 0.9)],
    }
    translator = ByTheBook([4], book)
    [[hypothesis]] = mask_predict(translator, SOURCE, MaskPredictDecoding(iterations=4, length_candidates=1, stop_unchanged=1))
    assert translator.asked == list(book)
    assert (hypothesis.tokens, hypothesis.passes) == ((A, B, C, A), 2)
    assert hypothesis.score == pytest.approx((math.log(0.9) + math.log(0.6) + math.log(0.8) + math.log(0.9)) / 4)
    [[patient]] = mask_predict(
        ByTheBook([4], book | {(A, MASK, MASK, A, EOS): [(B, 0.9), (B, 0.6), (C, 0.8), (A, 0.9)]}),
        SOURCE,
        MaskPredictDecoding(iterations=4, length_candidates=1, stop_unchanged=2),
    )
    assert patient.passes == 3


def test_only_the_best_candidate_continues_after_narrowing() -> None:
    book: Book = {
        (MASK, MASK, EOS): [(A, 0.6), (B, 0.5)],  # better so far
        (MASK, MASK, MASK, EOS): [(A, 0.5), (B, 0.5), (C, 0.5)],
        (A, MASK, EOS): [(C, 0.99), (C, 0.1)],  # and worse in the end, which is not known yet
    }
    translator = ByTheBook([3, 2], book)
    config = MaskPredictDecoding(iterations=2, length_candidates=2, narrow_after=1)
    [[hypothesis]] = mask_predict(translator, SOURCE, config)
    assert hypothesis.tokens == (A, A)
    assert hypothesis.score == pytest.approx((math.log(0.6) + math.log(0.45)) / 2)


@torch.no_grad()
def test_at_scores_of_candidates_equal_the_scores_of_the_at_search() -> None:
    translator = random_translator(3)
    source_BS = torch.tensor([[*source, EOS] for source in random_sources(3, [4, 4])])
    encoded, config = translator.encode(source_BS), MaskPredictDecoding(beam=3, length_penalty=0.6)
    found = at(translator).search(config)(encoded, 3)
    lengths_BK = torch.tensor([[len(hypothesis.tokens) for hypothesis in best] for best in found])
    longest = int(lengths_BK.max()) + 1
    tokens_BKT = torch.tensor([[[*h.tokens, EOS, *[PAD] * (longest - 1 - len(h.tokens))] for h in best] for best in found])
    scores_BK = at_scores(at(translator).decoder, encoded, tokens_BKT, lengths_BK, length_penalty=0.6)
    torch.testing.assert_close(scores_BK, torch.tensor([[hypothesis.score for hypothesis in best] for best in found]))


def test_reranking_sorts_the_candidates_by_the_score_of_the_at_decoder() -> None:
    translator = random_translator(7)
    sources = random_sources(7, [5, 8, 3, 6])
    plain, reranked = (
        found(translator, sources, MaskPredictDecoding(length_candidates=9, rerank=rerank), n_best=9)
        for rerank in ("none", "at")
    )
    for ours, others in zip(plain, reranked, strict=True):
        assert {hypothesis.tokens for hypothesis in ours} == {hypothesis.tokens for hypothesis in others}
        assert [hypothesis.score for hypothesis in others] == sorted((h.score for h in others), reverse=True)
    assert [best[0].tokens for best in plain] != [best[0].tokens for best in reranked]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_finds_mostly_the_same_translations(precision: Precision) -> None:
    translator = random_translator(2)
    sources = random_sources(2, lengths=[6] * 20)
    config = MaskPredictDecoding(iterations=4, length_candidates=2)
    whole = found(translator, sources, config)
    half = found(translator, sources, config.model_copy(update={"precision": precision}))
    # A confident translator; if the first pass chooses another length, the whole translation differs.
    agreeing = sum(ours[0].tokens == others[0].tokens for ours, others in zip(whole, half, strict=True))
    assert agreeing >= 12
    assert [best[0].score for best in half] != [best[0].score for best in whole]
    assert all(len(best[0].tokens) > 0 for best in half)
