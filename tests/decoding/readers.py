"""A small vocabulary, and a translator whose positions hold 15 of its pieces."""

import random
import re
from functools import cache

import torch
from translators import translator_of

from mtnat.data.vocabulary import Vocabularies, Vocabulary
from mtnat.model import ModelConfig, Translator

WORDS = re.findall(r"\w+", "the small dog sees a red house and my old cat sleeps in our green garden")


@cache
def vocabularies() -> Vocabularies:
    generator = random.Random(1)
    lines = [" ".join(generator.choices(WORDS, k=8)) + "." for _ in range(200)]
    vocabulary = Vocabulary.train(lines, 64)
    return Vocabularies(vocabulary, vocabulary, joint=True)


@cache
def reader() -> Translator:
    """With random weights."""
    torch.manual_seed(1)
    config = ModelConfig(width=16, heads=2, feed_forward=16, encoder_layers=1, decoder_layers=1, max_positions=16)
    size = len(vocabularies().source)
    translator = translator_of(config, size)
    for parameter in translator.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return translator
