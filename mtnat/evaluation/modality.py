"""How many translations a corpus has for the same words: what distillation takes from it (Gu et al. 2018's multi-modality)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from mtnat.errors import DataError

# P sentence pairs, L links: a target word with each source word of its pair and with NULL; C different couples of such words,
# T target words, V different source words; NULL is source word 0

MOST_PAIRS = 200_000
"""Pairs of a larger corpus that are looked at, evenly spaced."""
MOST_LINKS = 20_000_000
"""Links that are looked at, of which memory holds some 60 bytes each; where pairs are long it leaves fewer of them."""
_ITERATIONS = 5

Indices = npt.NDArray[np.signedinteger[Any]]
Floats = npt.NDArray[np.float64]
_Item = TypeVar("_Item")


@dataclass(frozen=True, kw_only=True)
class Modality:
    """How much a corpus leaves open of the translation of a source word, and how lengths go together."""

    conditional_entropy: float
    """C(d) of Zhou et al. 2020: the mean over source words x of H(y|x), in nats; each different word counts once."""
    weighted_entropy: float
    """The mean of H(y|x) over the source text, in nats: a word counts as often as it occurs there."""
    length_ratio: float
    """Target words for each source word."""
    length_deviation: float
    """Standard deviation of that ratio between sentence pairs."""
    pairs: int
    """Sentence pairs that were looked at: those with text on both sides, of a large corpus an even sample."""
    source_words: int
    """Running words of their sources, punctuation included."""
    target_words: int
    vocabulary: int
    """Different source words."""


def modality(sources: Iterable[str], targets: Iterable[str]) -> Modality:
    """How many ways to translate a word a parallel corpus holds; comparable between targets of the same sources only.

    p(y|x) is the word table of IBM Model 1 with NULL, after five iterations of EM from a uniform start (Brown et al. 1993).
    Unlike here, Zhou et al. 2020 align with fast_align, which also knows positions: Model 1 is the part of it that
    needs no other program, and spreads rare words over all they occur with. So a figure of theirs is not one of these,
    but a corpus and its distilled version differ in the same direction. Words are those of sacrebleu's tokenizer 13a, cased.

    Of a corpus with more than `MOST_PAIRS` pairs, or `MOST_LINKS` links, evenly spaced pairs are taken. Entropies depend on how
    much text there is: compare corpora of one size.

    Raises:
        DataError: both sides have not equally many lines, or no pair has text on both.
    """
    pairs = [
        (source, target)
        for source, target in ((_words(source), _words(target)) for source, target in _evenly(_zipped(sources, targets)))
        if source and target
    ]
    # By the sources alone, so that a corpus and its distilled version are looked at in the same places.
    links = sum((len(source) + 1) * len(source) for source, _ in pairs)
    if links > MOST_LINKS:
        pairs = _spaced(pairs, max(1, len(pairs) * MOST_LINKS // links))
    if not pairs:
        raise DataError("sources, targets: no pair has text on both sides; give at least one.")
    source_P, target_P = (np.array([len(pair[side]) for pair in pairs]) for side in (0, 1))
    source_words, words = _numbered([pair[0] for pair in pairs])
    target_words, _ = _numbered([pair[1] for pair in pairs])
    couple_L, target_L, source_C = _links(source_P, target_P, source_words + 1, target_words)
    entropy_V = _entropies(_table(couple_L, target_L, source_C), source_C)[1:]
    ratio_P = target_P / source_P
    return Modality(
        conditional_entropy=float(entropy_V.mean()),
        weighted_entropy=float(entropy_V[source_words].mean()),
        length_ratio=float(target_P.sum() / source_P.sum()),
        length_deviation=float(ratio_P.std()),
        pairs=len(pairs),
        source_words=len(source_words),
        target_words=len(target_words),
        vocabulary=len(words),
    )


def _zipped(sources: Iterable[str], targets: Iterable[str]) -> Iterator[tuple[str, str]]:
    for source, target in zip_longest(sources, targets):
        if source is None or target is None:
            raise DataError("sources, targets: must have equally many lines; give both in full.")
        yield source, target


def _evenly(items: Iterable[_Item]) -> list[_Item]:
    """At most `MOST_PAIRS` of them, evenly spaced, however many come: what is kept is halved whenever it is twice as many."""
    kept: list[_Item] = []
    step = 1
    for number, item in enumerate(items):
        if number % step == 0:
            kept.append(item)
        if len(kept) >= 2 * MOST_PAIRS:
            kept, step = kept[::2], 2 * step
    return _spaced(kept, MOST_PAIRS)


def _spaced(items: list[_Item], most: int) -> list[_Item]:
    return items if len(items) <= most else [items[number * len(items) // most] for number in range(most)]


_tokenizer: Callable[[str], str] = Tokenizer13a()  # type: ignore[no-untyped-call]


def _words(line: str) -> list[str]:
    return _tokenizer(line).split()


def _numbered(rows: list[list[str]]) -> tuple[Indices, list[str]]:
    """All words of all rows as numbers, one after the other, and what they stand for."""
    numbers: dict[str, int] = {}
    flat = np.fromiter((numbers.setdefault(word, len(numbers)) for row in rows for word in row), np.int64)
    return flat, list(numbers)


def _links(source_P: Indices, target_P: Indices, sources: Indices, targets: Indices) -> tuple[Indices, Indices, Indices]:
    """Every target word with every source word of its pair and NULL.

    Returns:
        The couple of words of each link, [L]; its running target word, [L]; the source word of each couple, [C].
    """
    # Pair p has target_P[p] rows of source_P[p] + 1 links each, NULL first.
    width_T = np.repeat(source_P + 1, target_P)
    target_L = np.repeat(np.arange(len(targets), dtype=np.int32), width_T)
    first_T = np.cumsum(width_T) - width_T
    start_T = np.repeat(np.cumsum(source_P) - source_P, target_P)
    place_L = np.arange(len(target_L)) + np.repeat(start_T - 1 - first_T, width_T)
    source_L = sources[np.maximum(place_L, 0)]
    source_L[first_T] = 0
    key_L = source_L * (int(targets.max()) + 1) + targets[target_L]
    del place_L, source_L
    key_C, couple_L = np.unique(key_L, return_inverse=True)
    return couple_L.astype(np.int32), target_L, key_C // (int(targets.max()) + 1)


def _table(couple_L: Indices, target_L: Indices, source_C: Indices) -> Floats:
    """p(y|x) of each couple by IBM Model 1, [C]."""
    p_C = 1 / np.bincount(source_C)[source_C]  # uniform over the words that x occurs with; E's first step is the same
    for _ in range(_ITERATIONS):
        weight_L = p_C[couple_L]
        weight_L /= np.bincount(target_L, weights=weight_L)[target_L]
        count_C = np.bincount(couple_L, weights=weight_L)
        p_C = count_C / np.bincount(source_C, weights=count_C)[source_C]
    return np.asarray(p_C)


def _entropies(p_C: Floats, source_C: Indices) -> Floats:
    """H(y|x) of each source word, in nats, [V]; NULL's first."""
    information_C = np.log(p_C, out=np.zeros_like(p_C), where=p_C > 0)
    return np.asarray(np.bincount(source_C, weights=-p_C * information_C), np.float64)
