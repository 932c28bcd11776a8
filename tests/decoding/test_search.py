"""Properties of decoding that hold for every decoder."""

import random
from itertools import chain

import pytest
import torch
from plain_searches import random_sources, random_translator
from readers import reader, vocabularies

from mtnat.config import build
from mtnat.decoding import DecoderName, Hypothesis, MaskPredictDecoding, TranslatedLine
from mtnat.decoding import decode as decode_with
from mtnat.decoding import translate as translate_with
from mtnat.decoding.batching import group, pad
from mtnat.errors import UserError
from mtnat.model import Translator
from mtnat.systems import search_of
from mtnat.tokens import EOS, PAD, SPECIAL

LENGTHS = [4, 9, 1, 0, 7, 7, 2, 11, 3, 0, 5]
both_decoders = pytest.mark.parametrize("decoder", ["nat", "at"])


def decode(
    translator: Translator, sources: list[list[int]], config: MaskPredictDecoding, decoder: DecoderName, n_best: int = 1
) -> list[list[Hypothesis]]:
    search = search_of(translator, decoder, config)
    return decode_with(translator, sources, config, search, n_best)


def translate(lines: list[str], config: MaskPredictDecoding, decoder: DecoderName, n_best: int = 1) -> list[TranslatedLine]:
    search = search_of(reader(), decoder, config)
    return translate_with(reader(), vocabularies(), lines, config, search, n_best)


def same(ours: list[list[Hypothesis]], others: list[list[Hypothesis]]) -> None:
    assert [len(best) for best in ours] == [len(best) for best in others]
    for our, other in zip(chain.from_iterable(ours), chain.from_iterable(others), strict=True):
        assert (our.tokens, our.passes) == (other.tokens, other.passes)
        assert our.score == pytest.approx(other.score, rel=1e-4)


@both_decoders
def test_a_translation_does_not_depend_on_its_batch_or_its_place(decoder: DecoderName) -> None:
    translator, sources = random_translator(3), random_sources(3, LENGTHS)
    together = decode(translator, sources, MaskPredictDecoding(), decoder)
    same(together, [decode(translator, [source], MaskPredictDecoding(), decoder)[0] for source in sources])
    same(together, decode(translator, sources, MaskPredictDecoding(max_tokens_per_batch=100), decoder))
    order = random.Random(1).sample(range(len(sources)), len(sources))
    same(
        [together[index] for index in order],
        decode(translator, [sources[index] for index in order], MaskPredictDecoding(), decoder),
    )


@both_decoders
def test_special_tokens_are_never_predicted(decoder: DecoderName) -> None:
    translator = random_translator(5)
    with torch.no_grad():
        translator.target_tokens.weight[list(SPECIAL)] *= 3
    for [hypothesis] in decode(translator, random_sources(5, [3, 4, 5]), MaskPredictDecoding(length_penalty=2), decoder):
        assert not set(hypothesis.tokens) & set(SPECIAL)


@both_decoders
def test_an_empty_source_has_an_empty_translation(decoder: DecoderName) -> None:
    translator = random_translator(1)
    assert decode(translator, [], MaskPredictDecoding(), decoder) == []
    assert decode(translator, [[]], MaskPredictDecoding(), decoder) == [[Hypothesis(tokens=(), score=0.0, passes=0)]]


@both_decoders
def test_the_longest_source_fits_and_a_longer_source_is_refused(decoder: DecoderName) -> None:
    translator = random_translator(1, max_positions=12)
    [[hypothesis]] = decode(translator, [[7] * 11], MaskPredictDecoding(max_tokens_per_batch=64), decoder)
    assert 0 <= len(hypothesis.tokens) <= 11
    with pytest.raises(UserError, match="source 1: must have at most 11 pieces; got 12"):
        decode(translator, [[7], [7] * 12], MaskPredictDecoding(), decoder)


@both_decoders
@pytest.mark.parametrize("training", [True, False])
def test_decoding_leaves_the_translator_unchanged(decoder: DecoderName, training: bool) -> None:
    translator = random_translator(1).train(training)
    first = decode(translator, random_sources(1, [5]), MaskPredictDecoding(), decoder)
    assert translator.training is training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in translator.parameters())
    same(first, decode(translator, random_sources(1, [5]), MaskPredictDecoding(), decoder))  # no dropout, no randomness


@both_decoders
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_the_same_translations_as_the_cpu(decoder: DecoderName) -> None:
    translator, sources = random_translator(3), random_sources(3, LENGTHS)
    same(
        decode(translator, sources, MaskPredictDecoding(), decoder),
        decode(translator.cuda(), sources, MaskPredictDecoding(), decoder),
    )


def test_groups_hold_sources_of_similar_lengths_within_the_budget() -> None:
    lengths = [3, 1, 7, 3, 2, 30]
    # With EOS and 2 copies: 62 alone is over 48 and goes alone; then 16 each, three fit, of 8, 4 and 4 pieces; then the rest.
    assert list(group(lengths, copies=2, max_tokens=48)) == [[5], [2, 0, 3], [4, 1]]
    assert list(group([], copies=2, max_tokens=48)) == []


def test_sources_are_padded_after_eos() -> None:
    assert pad([[7, 8], [9]], torch.device("cpu")).tolist() == [[7, 8, EOS], [9, EOS, PAD]]


@both_decoders
def test_every_input_line_has_an_output_line_even_if_long_empty_or_unusual(decoder: DecoderName) -> None:
    lines = ["the dog sees a cat.", "", "   ", "the dog. " * 50, "x" * 200, "語😀\u0085", "a red house and my old cat."]
    translated = translate(lines, MaskPredictDecoding(), decoder)
    assert len(translated) == len(lines)
    assert translated[1].text == translated[2].text == ""
    assert all(translated[index].text for index in (0, 3, 4, 6))
    assert [line.parts for line in translated] == [1, 1, 1, 25, 1, 1, 1]
    assert translate([], MaskPredictDecoding(), decoder) == []
    [alone] = translate(lines[:1], MaskPredictDecoding(), decoder)[0].translations
    [among_others] = translated[0].translations
    assert (alone.text, alone.tokens, alone.passes) == (among_others.text, among_others.tokens, among_others.passes)
    assert alone.score == pytest.approx(among_others.score, rel=1e-5)


@both_decoders
def test_a_line_that_is_too_long_is_translated_sentence_by_sentence(decoder: DecoderName) -> None:
    first, second = "the dog sees a cat.", "my old dog sleeps!"
    assert (
        max(map(len, vocabularies().source.encode([first, second])))
        <= 15
        < len(vocabularies().source.encode([f"{first} {second}"])[0])
    )
    [joined, *apart] = translate([f"{first} {second}", first, second], MaskPredictDecoding(), decoder)
    assert joined.text == " ".join(line.text for line in apart)
    assert joined.parts == 2


@both_decoders
def test_the_n_best_of_a_long_line_join_the_n_best_of_its_parts(decoder: DecoderName) -> None:
    first, second = "the dog sees a cat.", "my old dog sleeps!"
    found = translate([f"{first} {second}", first, second], MaskPredictDecoding(), decoder, 3)
    [joined, *apart] = [line.translations for line in found]
    assert [len(best) for best in (joined, *apart)] == [3, 3, 3]
    for whole, *parts in zip(joined, *apart, strict=True):
        assert whole.text == " ".join(part.text for part in parts)
        assert whole.tokens == (*parts[0].tokens, *parts[1].tokens)
        assert whole.passes == max(part.passes for part in parts)
        pieces = [len(part.tokens) for part in parts]
        mean = sum(part.score * size for part, size in zip(parts, pieces, strict=True)) / sum(pieces)
        assert whole.score == pytest.approx(mean)


@pytest.mark.parametrize(
    ("decoder", "settings", "n_best", "said"),
    [
        ("nat", {"length_candidates": 2}, 3, "at most length_candidates, 2; got 3"),
        ("nat", {"narrow_after": 1, "narrow_to": 2}, 3, "at most narrow_to, 2; got 3"),
        ("at", {"beam": 2}, 3, "at most beam, 2; got 3"),
        ("at", {}, 0, "at least 1"),
    ],
)
def test_an_n_best_outside_the_range_of_the_search_is_refused(
    decoder: DecoderName, settings: dict[str, int], n_best: int, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        decode(random_translator(1), [[7, 8]], build(MaskPredictDecoding, settings), decoder, n_best)
