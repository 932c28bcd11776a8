"""Decoding of token sequences and translation of lines of text."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch

from mtnat.data.vocabulary import Vocabularies, Vocabulary
from mtnat.decoding.batching import group, pad, token_budget
from mtnat.decoding.config import Decoding
from mtnat.decoding.hypotheses import NOTHING, Hypothesis
from mtnat.decoding.search import Search
from mtnat.errors import UserError
from mtnat.model import Translator, computing_in, resolve_precision


@dataclass(frozen=True)
class Translation:
    """A translation of a line. The parts of a line that was translated in parts are joined."""

    text: str
    tokens: tuple[int, ...]
    """Target pieces."""
    score: float
    """See `Hypothesis.score`; for several parts the mean, weighted by the number of pieces."""
    passes: int
    """See `Hypothesis.passes`; for several parts the maximum."""
    fallback_passes: int = 0
    """See `Hypothesis.fallback_passes`; for several parts the maximum."""


@dataclass(frozen=True)
class TranslatedLine:
    """A line's translations and how it was split."""

    translations: tuple[Translation, ...]
    """At least one translation, the best first."""
    pieces: int
    """Number of source pieces."""
    parts: int
    """Number of parts that were translated separately; more than one if the line has more pieces than the model has
    positions."""

    @property
    def text(self) -> str:
        """The text of the best translation."""
        return self.translations[0].text


def decode(
    translator: Translator, sources: Sequence[Sequence[int]], config: Decoding, search: Search, n_best: int = 1
) -> list[list[Hypothesis]]:
    """Returns the best hypotheses of each source, in the order of the sources. They do not depend on the batching.

    Args:
        sources: pieces without EOS. The only hypothesis of an empty source is empty.
        search: the search of one of the translator's branches.
        n_best: maximum number of hypotheses of a source; a search may find fewer.

    Raises:
        UserError: a source has more pieces than the model has positions, or the search has fewer candidates than `n_best`.
    """
    _check(translator, sources, search, n_best)
    filled = [index for index, source in enumerate(sources) if source]
    hypotheses = [[NOTHING]] * len(sources)
    was_training = translator.training
    translator.eval()
    device = translator.target_tokens.weight.device
    max_tokens = token_budget(config.max_tokens_per_batch, device, stepwise=search.is_stepwise)
    precision = resolve_precision(config.precision, device)
    try:
        for places in group([len(sources[index]) for index in filled], search.copies, max_tokens):
            rows = [filled[place] for place in places]
            with torch.inference_mode(), computing_in(precision, device):
                encoded = translator.encode(pad([sources[row] for row in rows], device))
                found = search(encoded, n_best)
            for row, best in zip(rows, found, strict=True):
                hypotheses[row] = best
    finally:
        translator.train(was_training)
    return hypotheses


def translate(
    translator: Translator,
    vocabularies: Vocabularies,
    lines: Sequence[str],
    config: Decoding,
    search: Search,
    n_best: int = 1,
) -> list[TranslatedLine]:
    """Translates lines. A line that is too long for the model is split, at sentence ends if possible, and translated in parts.

    Raises:
        UserError: the search has fewer candidates than `n_best`.
    """
    pieces = vocabularies.source.encode(lines)
    parts = [parts_of(translator, vocabularies.source, line, row) for line, row in zip(lines, pieces, strict=True)]
    hypotheses = iter(decode(translator, list(chain.from_iterable(parts)), config, search, n_best))
    found = [_ranked([next(hypotheses) for _ in line]) for line in parts]
    texts = iter(vocabularies.target.decode([part.tokens for line in found for rank in line for part in rank]))
    return [
        TranslatedLine(tuple(_joined(rank, texts) for rank in ranks), pieces=len(row), parts=len(line))
        for ranks, row, line in zip(found, pieces, parts, strict=True)
    ]


def parts_of(translator: Translator, vocabulary: Vocabulary, line: str, pieces: list[int]) -> list[list[int]]:
    """Splits a line's pieces into parts that fit the model: whole sentences if they fit, otherwise cuts at the maximum
    length."""
    most = translator.config.max_positions - 1
    if len(pieces) <= most:
        return [pieces]
    parts: list[list[int]] = [[]]
    for sentence in vocabulary.encode(re.split(r"(?<=[.!?…。！？])\s+", line)):
        if len(parts[-1]) + len(sentence) <= most:
            parts[-1] += sentence
        else:
            parts += [sentence[start : start + most] for start in range(0, len(sentence), most)]
    return [part for part in parts if part]


def _check(translator: Translator, sources: Sequence[Sequence[int]], search: Search, n_best: int) -> None:
    most = translator.config.max_positions - 1
    problems = [
        f"source {index}: must have at most {most} pieces; got {len(source)}; split it."
        for index, source in enumerate(sources)
        if len(source) > most
    ]
    setting, candidates = search.most
    if not 1 <= n_best <= candidates:
        problems.append(f"n_best: must be at least 1 and at most {setting}, {candidates}; got {n_best}.")
    if problems:
        raise UserError(problems)


def _ranked(parts: Sequence[list[Hypothesis]]) -> list[list[Hypothesis]]:
    """Returns for each rank n the n-th best hypotheses of all parts; a part with fewer hypotheses repeats its last one."""
    most = max(len(part) for part in parts)
    return [[part[min(rank, len(part) - 1)] for part in parts] for rank in range(most)]


def _joined(parts: Sequence[Hypothesis], texts: Iterator[str]) -> Translation:
    """Joins the hypotheses of a line's parts and their texts to one translation."""
    pieces = sum(len(part.tokens) for part in parts)
    return Translation(
        text=" ".join(next(texts) for _ in parts),
        tokens=tuple(chain.from_iterable(part.tokens for part in parts)),
        score=sum(part.score * len(part.tokens) for part in parts) / pieces if pieces and len(parts) > 1 else parts[0].score,
        passes=max(part.passes for part in parts),
        fallback_passes=max(part.fallback_passes for part in parts),
    )
