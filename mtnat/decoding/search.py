"""From sources to hypotheses, and from lines to lines."""

import re
from collections.abc import Sequence
from itertools import chain
from typing import Literal

import torch

from mtnat.data.vocabulary import Vocabularies, Vocabulary
from mtnat.decoding.batching import group, pad
from mtnat.decoding.beam import beam_search
from mtnat.decoding.config import DecodingConfig
from mtnat.decoding.hypotheses import NOTHING, Hypothesis
from mtnat.decoding.mask_predict import mask_predict
from mtnat.errors import UserError
from mtnat.model import Translator

DecoderName = Literal["nat", "at"]


def decode(
    translator: Translator, sources: Sequence[Sequence[int]], config: DecodingConfig, decoder: DecoderName
) -> list[Hypothesis]:
    """The best hypothesis of each source, in the sources' order, whatever they were batched with.

    Args:
        sources: pieces without EOS; of an empty source the hypothesis is empty.

    Raises:
        UserError: a source is longer than the model has positions for.
    """
    most = translator.config.max_positions - 1
    too_long = [index for index, source in enumerate(sources) if len(source) > most]
    if too_long:
        raise UserError(
            f"source {index}: must have at most {most} pieces; got {len(sources[index])}; split it." for index in too_long
        )
    filled = [index for index, source in enumerate(sources) if source]
    copies = config.length_candidates if decoder == "nat" else config.beam
    hypotheses = [NOTHING] * len(sources)
    was_training = translator.training
    translator.eval()
    try:
        for places in group([sources[index] for index in filled], copies, config.max_tokens_per_batch):
            rows = [filled[place] for place in places]
            found = _search(translator, [sources[row] for row in rows], config, decoder)
            for row, hypothesis in zip(rows, found, strict=True):
                hypotheses[row] = hypothesis
    finally:
        translator.train(was_training)
    return hypotheses


def translate(
    translator: Translator, vocabularies: Vocabularies, lines: Sequence[str], config: DecodingConfig, decoder: DecoderName
) -> list[str]:
    """One line for each line; one that is too long for the model is translated in parts, at sentence ends where it can be."""
    most = translator.config.max_positions - 1
    pieces = vocabularies.source.encode(lines)
    parts = [_parts(vocabularies.source, line, row, most) for line, row in zip(lines, pieces, strict=True)]
    hypotheses = iter(decode(translator, list(chain.from_iterable(parts)), config, decoder))
    rows = [[next(hypotheses).tokens for _ in line] for line in parts]
    texts = iter(vocabularies.target.decode(list(chain.from_iterable(rows))))
    return [" ".join(next(texts) for _ in row) for row in rows]


@torch.inference_mode()
def _search(
    translator: Translator, sources: Sequence[Sequence[int]], config: DecodingConfig, decoder: DecoderName
) -> list[Hypothesis]:
    """The hypotheses of one batch."""
    source_BS = pad(sources, translator.target_tokens.weight.device)
    if decoder == "nat":
        return mask_predict(translator, source_BS, config.iterations, config.length_candidates)
    return beam_search(translator, source_BS, config.beam, config.length_penalty)


def _parts(vocabulary: Vocabulary, line: str, pieces: list[int], most: int) -> list[list[int]]:
    """A line's pieces in parts of at most `most`: whole sentences where they fit, else cut wherever a part is full."""
    if len(pieces) <= most:
        return [pieces]
    parts: list[list[int]] = [[]]
    for sentence in vocabulary.encode(re.split(r"(?<=[.!?…。！？])\s+", line)):
        if len(parts[-1]) + len(sentence) <= most:
            parts[-1] += sentence
        else:
            parts += [sentence[start : start + most] for start in range(0, len(sentence), most)]
    return [part for part in parts if part]
