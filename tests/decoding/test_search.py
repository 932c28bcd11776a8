"""What decoding promises whichever decoder translates."""

import random

import pytest
import torch
from plain_searches import random_sources, random_translator

from mtnat.data.vocabulary import Vocabularies, Vocabulary
from mtnat.decoding import DecoderName, DecodingConfig, Hypothesis, decode, translate
from mtnat.decoding.batching import group, pad
from mtnat.errors import UserError
from mtnat.model import ModelConfig, Translator
from mtnat.tokens import EOS, PAD, SPECIAL

LENGTHS = [4, 9, 1, 0, 7, 7, 2, 11, 3, 0, 5]
both_decoders = pytest.mark.parametrize("decoder", ["nat", "at"])


def same(ours: list[Hypothesis], others: list[Hypothesis]) -> None:
    assert [hypothesis.tokens for hypothesis in ours] == [hypothesis.tokens for hypothesis in others]
    assert [hypothesis.passes for hypothesis in ours] == [hypothesis.passes for hypothesis in others]
    assert [hypothesis.score for hypothesis in ours] == pytest.approx([hypothesis.score for hypothesis in others], rel=1e-4)


@both_decoders
def test_a_translation_does_not_depend_on_its_batch_or_its_place(decoder: DecoderName) -> None:
    translator, sources = random_translator(3), random_sources(3, LENGTHS)
    together = decode(translator, sources, DecodingConfig(), decoder)
    same(together, [decode(translator, [source], DecodingConfig(), decoder)[0] for source in sources])
    same(together, decode(translator, sources, DecodingConfig(max_tokens_per_batch=100), decoder))
    order = random.Random(1).sample(range(len(sources)), len(sources))
    same(
        [together[index] for index in order], decode(translator, [sources[index] for index in order], DecodingConfig(), decoder)
    )


@both_decoders
def test_special_tokens_are_never_predicted(decoder: DecoderName) -> None:
    translator = random_translator(5)
    with torch.no_grad():
        translator.target_tokens.weight[list(SPECIAL)] *= 3
    for hypothesis in decode(translator, random_sources(5, [3, 4, 5]), DecodingConfig(length_penalty=2), decoder):
        assert not set(hypothesis.tokens) & set(SPECIAL)


@both_decoders
def test_an_empty_source_has_an_empty_translation(decoder: DecoderName) -> None:
    translator = random_translator(1)
    assert decode(translator, [], DecodingConfig(), decoder) == []
    assert decode(translator, [[]], DecodingConfig(), decoder) == [Hypothesis(tokens=(), score=0.0, passes=0)]


@both_decoders
def test_the_longest_source_fits_and_a_longer_one_is_refused(decoder: DecoderName) -> None:
    translator = random_translator(1, max_positions=12)
    [hypothesis] = decode(translator, [[7] * 11], DecodingConfig(max_tokens_per_batch=64), decoder)
    assert 0 <= len(hypothesis.tokens) <= 11
    with pytest.raises(UserError, match="source 1: must have at most 11 pieces; got 12"):
        decode(translator, [[7], [7] * 12], DecodingConfig(), decoder)


@both_decoders
@pytest.mark.parametrize("training", [True, False])
def test_the_translator_is_left_as_it_was(decoder: DecoderName, training: bool) -> None:
    translator = random_translator(1).train(training)
    first = decode(translator, random_sources(1, [5]), DecodingConfig(), decoder)
    assert translator.training is training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in translator.parameters())
    same(first, decode(translator, random_sources(1, [5]), DecodingConfig(), decoder))  # no dropout, no randomness


@both_decoders
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_the_same(decoder: DecoderName) -> None:
    translator, sources = random_translator(3), random_sources(3, LENGTHS)
    same(decode(translator, sources, DecodingConfig(), decoder), decode(translator.cuda(), sources, DecodingConfig(), decoder))


def test_groups_hold_similar_lengths_within_the_budget() -> None:
    sources = [[9] * length for length in (3, 1, 7, 3, 2, 30)]
    # With EOS and 2 copies: 62 alone is over 48 and goes alone; then 16 each, three fit, of 8, 4 and 4 pieces; then the rest.
    assert list(group(sources, copies=2, max_tokens=48)) == [[5], [2, 0, 3], [4, 1]]
    assert list(group([], copies=2, max_tokens=48)) == []


def test_sources_are_padded_behind_their_end() -> None:
    assert pad([[7, 8], [9]], torch.device("cpu")).tolist() == [[7, 8, EOS], [9, EOS, PAD]]


@pytest.fixture(scope="module")
def vocabularies() -> Vocabularies:
    words = [
        "the",
        "small",
        "dog",
        "sees",
        "a",
        "red",
        "house",
        "and",
        "my",
        "old",
        "cat",
        "sleeps",
        "in",
        "our",
        "green",
        "garden",
    ]
    generator = random.Random(1)
    lines = [" ".join(generator.choices(words, k=8)) + "." for _ in range(200)]
    vocabulary = Vocabulary.train(lines, 64)
    return Vocabularies(vocabulary, vocabulary, joint=True)


def reader(vocabularies: Vocabularies) -> Translator:
    torch.manual_seed(1)
    config = ModelConfig(width=16, heads=2, feed_forward=16, encoder_layers=1, decoder_layers=1, max_positions=16)
    size = len(vocabularies.source)
    translator = Translator(config, source_vocabulary_size=size, target_vocabulary_size=size, joint=True)
    for parameter in translator.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return translator


@both_decoders
def test_every_line_has_a_line_however_long_empty_or_strange(vocabularies: Vocabularies, decoder: DecoderName) -> None:
    lines = ["the dog sees a cat.", "", "   ", "the dog. " * 50, "x" * 200, "語😀\u0085", "a red house and my old cat."]
    translator = reader(vocabularies)
    translated = translate(translator, vocabularies, lines, DecodingConfig(), decoder)
    assert len(translated) == len(lines)
    assert translated[1] == translated[2] == ""
    assert all(translated[index] for index in (0, 3, 4, 6))
    assert translate(translator, vocabularies, [], DecodingConfig(), decoder) == []
    assert translated[0] == translate(translator, vocabularies, lines[:1], DecodingConfig(), decoder)[0]


@both_decoders
def test_a_line_that_is_too_long_is_translated_sentence_by_sentence(vocabularies: Vocabularies, decoder: DecoderName) -> None:
    first, second = "the dog sees a cat.", "my old dog sleeps!"
    translator = reader(vocabularies)
    assert (
        max(map(len, vocabularies.source.encode([first, second])))
        <= 15
        < len(vocabularies.source.encode([f"{first} {second}"])[0])
    )
    [joined, *apart] = translate(translator, vocabularies, [f"{first} {second}", first, second], DecodingConfig(), decoder)
    assert joined == " ".join(apart)
