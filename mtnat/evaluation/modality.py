"""Modality of a parallel corpus: how many different translations it has for the same source words.

A NAT decoder predicts tokens independently of one another, so several good translations of a sentence are hard for it (the
multi-modality problem, Gu et al. 2018). Distillation reduces the modality of the training text; this module measures it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from mtnat.errors import DataError
from mtnat.evaluation.ibm_model_1 import Couples, Floats, translation_table

# P sentence pairs
# C different couples (source word, target word) that occur in a pair
# V different source words, of which NULL is word 0

MOST_PAIRS = 200_000
"""Maximum number of pairs that are measured. A larger corpus is sampled at even spacing."""
MOST_LINKS = 20_000_000
"""Maximum number of links, each a target word with a source word of its pair. If pairs are long, fewer of them are measured."""
_ITERATIONS = 5
"""Iterations of EM."""

Indices = npt.NDArray[np.signedinteger[Any]]
_Item = TypeVar("_Item")


@dataclass(frozen=True, kw_only=True)
class Modality:
    """Uncertainty of the translation of source words, and variation of the lengths, in a parallel corpus."""

    conditional_entropy: float
    """C(d) of Zhou et al. 2020: the mean of H(y|x) over the different source words x, in nats. Each word counts once."""
    weighted_entropy: float
    """Mean of H(y|x) over the running source words, in nats: a word counts as often as it occurs."""
    length_ratio: float
    """Target words divided by source words."""
    length_deviation: float
    """Standard deviation of this ratio between sentence pairs."""
    pairs: int
    """Number of measured pairs: those with text on both sides, or an even sample of a large corpus."""
    source_words: int
    """Running words of the sources, punctuation included."""
    target_words: int
    """Running words of the targets, punctuation included."""
    vocabulary: int
    """Number of different source words."""


def modality(sources: Iterable[str], targets: Iterable[str]) -> Modality:
    """Measures the modality of a parallel corpus by the entropy of its word translations.

    Compare only corpora with the same sources, such as a corpus and its distilled version: entropies depend on the sources
    and on the amount of text.

    p(y|x) is the translation table of IBM Model 1 with NULL, after five iterations of EM from a uniform start (Brown et al.
    1993). Unlike this, Zhou et al. 2020 align with fast_align, which also models positions. Model 1 needs no other program,
    but distributes the probability of rare words over all words that they occur with. The figures are therefore not
    comparable with theirs, but distillation changes them in the same direction. Words are those of sacrebleu's tokenizer 13a,
    with case.

    A corpus of more than `MOST_PAIRS` pairs or `MOST_LINKS` links is sampled at even spacing.

    Raises:
        DataError: if the sides do not have equally many lines, or no pair has text on both sides.
    """
    pairs = [
        (source, target)
        for source, target in ((_words(source), _words(target)) for source, target in _evenly(_zipped(sources, targets)))
        if source and target
    ]
    # The number of links is estimated from the sources alone, so that the same pairs are chosen in a corpus and in its
    # distilled version.
    links = sum((len(source) + 1) * len(source) for source, _ in pairs)
    if links > MOST_LINKS:
        pairs = _spaced(pairs, max(1, len(pairs) * MOST_LINKS // links))
    if not pairs:
        raise DataError("sources, targets: no pair has text on both sides; give at least one.")
    source_P, target_P = (np.array([len(pair[side]) for pair in pairs]) for side in (0, 1))
    source_words, words = _numbered([pair[0] for pair in pairs])
    target_words, _ = _numbered([pair[1] for pair in pairs])
    couples = translation_table(source_words + 1, target_words, source_P, target_P, _ITERATIONS)  # 0 is NULL
    entropy_V = _entropies(couples)[1:]  # without NULL
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
    """Returns at most `MOST_PAIRS` evenly spaced items of a stream of unknown length."""
    # Whenever twice as many are kept as needed, every second one is dropped, and from then on half as many are kept.
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
    """Returns the words of all rows as one array of numbers, and the word of each number."""
    numbers: dict[str, int] = {}
    flat = np.fromiter((numbers.setdefault(word, len(numbers)) for row in rows for word in row), np.int64)
    return flat, list(numbers)


def _entropies(couples: Couples) -> Floats:
    """Returns the entropy H(y|x) of each source word in nats, [V]; that of NULL comes first."""
    p_C = couples.p_C
    log_p_C = np.log(p_C, out=np.zeros_like(p_C), where=p_C > 0)  # 0 log 0 = 0
    return np.asarray(np.bincount(couples.source_C, weights=-p_C * log_p_C), np.float64)
