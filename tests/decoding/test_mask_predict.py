"""Mask-predict on cases worked by hand, and against the plain search."""

import math

import pytest
import torch
from plain_searches import plain_mask_predict, random_sources, random_translator
from torch import Tensor

from mtnat.decoding import DecodingConfig, decode
from mtnat.decoding.mask_predict import mask_predict
from mtnat.model import Encoded, Memory, ModelConfig, Translator
from mtnat.tokens import EOS, MASK, PAD, SPECIAL

A, B, C = 5, 6, 7
Prediction = tuple[int, float]  # the likeliest piece and its probability; the other two share the rest
Book = dict[tuple[int, ...], list[Prediction]]


class ByTheBook(Translator):
    """A translator whose NAT decoder looks its predictions up: for each input, the prediction at each place.

    An input that is not in the book is an error, so the book says which tokens are masked before which pass.
    """

    def __init__(self, lengths: list[int], book: Book) -> None:
        super().__init__(
            ModelConfig(width=8, heads=1, feed_forward=8, encoder_layers=1, decoder_layers=1, max_positions=8),
            source_vocabulary_size=8,
            target_vocabulary_size=8,
            joint=True,
        )
        self.lengths, self.book = lengths, book
        self.asked: list[tuple[int, ...]] = []

    def length_logits(self, encoded: Encoded) -> Tensor:
        logits_BP = torch.full((len(encoded.states_BSD), 8), -9.0)
        logits_BP[:, 0] = -torch.inf
        for rank, length in enumerate(self.lengths):
            logits_BP[:, length] = -float(rank)
        return logits_BP

    def nat_states(
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


SOURCE = torch.tensor([[A, B, EOS]])


def test_four_pieces_in_three_passes_worked_by_hand() -> None:
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
    [hypothesis] = mask_predict(translator, SOURCE, iterations=3, length_candidates=1)
    assert translator.asked == list(book)
    assert hypothesis.tokens == (A, B, B, A)
    assert hypothesis.score == pytest.approx((math.log(0.9) + math.log(0.95) + math.log(0.8) + math.log(0.7)) / 4)
    assert hypothesis.passes == 3


def test_of_two_lengths_the_better_mean_wins_and_a_short_one_needs_fewer_passes() -> None:
    # 1 piece: ⌊1·1/2⌋ = 0 are masked after the first pass. 3 pieces: ⌊3·1/2⌋ = 1.
    book: Book = {
        (MASK, EOS): [(C, 0.6)],
        (MASK, MASK, MASK, EOS): [(A, 0.8), (B, 0.5), (C, 0.8)],
        (A, MASK, C, EOS): [(A, 0.4), (A, 0.5), (A, 0.4)],
        (C, EOS): [(A, 0.9)],  # nothing is masked in the shorter one, so this says nothing
    }
    [both] = mask_predict(ByTheBook([3, 1], book), SOURCE, iterations=2, length_candidates=2)
    assert both.tokens == (A, A, C)  # ln 0.8·0.5·0.8 / 3 = −0.38, and ln 0.6 = −0.51
    assert both.score == pytest.approx(math.log(0.8 * 0.5 * 0.8) / 3)
    [likeliest] = mask_predict(ByTheBook([1, 3], book), SOURCE, iterations=2, length_candidates=1)
    assert (likeliest.tokens, likeliest.passes) == ((C,), 1)
    assert likeliest.score == pytest.approx(math.log(0.6))


def test_of_equal_scores_the_leftmost_is_masked() -> None:
    book: Book = {
        (MASK, MASK, EOS): [(A, 0.5), (A, 0.5)],
        (MASK, A, EOS): [(B, 0.9), (C, 0.9)],
    }
    [hypothesis] = mask_predict(ByTheBook([2], book), SOURCE, iterations=2, length_candidates=1)
    assert hypothesis.tokens == (B, A)


def test_more_candidates_than_lengths_are_all_the_lengths() -> None:
    book: Book = {(*[MASK] * length, EOS): [(A, length / 10 + 0.25)] * length for length in range(1, 8)}
    [hypothesis] = mask_predict(ByTheBook([2], book), SOURCE, iterations=1, length_candidates=50)
    assert hypothesis.tokens == (A,) * 7


@pytest.mark.parametrize("iterations", [1, 2, 4, 10, 30])
@pytest.mark.parametrize("candidates", [1, 5])
def test_the_plain_search_finds_the_same(iterations: int, candidates: int) -> None:
    translator = random_translator(seed=iterations)
    sources = random_sources(seed=iterations, lengths=[1, 9, 4, 6])
    config = DecodingConfig(iterations=iterations, length_candidates=candidates)
    for source, hypothesis in zip(sources, decode(translator, sources, config, "nat"), strict=True):
        tokens, score = plain_mask_predict(translator, source, iterations, candidates)
        assert hypothesis.tokens == tokens
        assert hypothesis.score == pytest.approx(score, rel=1e-4)
