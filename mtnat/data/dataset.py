"""From a `DataConfig` to tokens on disk, once; afterwards from the cache."""

import hashlib
import json
import os
import shutil
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import platformdirs

from mtnat.data.config import DataConfig
from mtnat.data.corpus import Corpus, TextPair, open_corpus, open_raw_corpus
from mtnat.data.grammar import SplitName
from mtnat.data.store import EncodedPair, TokenStore, write_store
from mtnat.data.vocabulary import LARGE_CORPUS_LINES, MOST_TRAINING_LINES, Vocabularies, Vocabulary
from mtnat.errors import DataError
from mtnat.files import locked

# Part of every fingerprint; raise it when equal text and settings would give other tokens or another layout.
_FORMAT = 1
_PAIRS_AT_ONCE = 8_192
_CHUNKS_AHEAD = 2
_PAIRS_CHECKED = 50_000


@dataclass(frozen=True)
class Split:
    """Held-out text as it was given, every line of it."""

    name: str
    sources: tuple[str, ...]
    references: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """All that training and evaluation read."""

    vocabularies: Vocabularies
    train: TokenStore
    valid: Split
    test: Split
    fingerprint: str
    """SHA-256 of all text and of the settings that make tokens of it."""
    left_out: int
    """Training pairs with an empty side or more than `max_length` tokens."""


def prepare(config: DataConfig, cache: Path | None = None) -> Dataset:
    """The tokenised corpus, from the cache where equal text was prepared with equal settings before.

    Processes that prepare the same data at once wait for the first one, and share its work.

    Args:
        cache: folder of the cache; by default `default_cache`.

    Raises:
        DataError: with everything that is wrong with the corpus.
    """
    cache = cache or default_cache()
    corpus = open_corpus(config, cache)
    if problems := corpus.problems():
        raise DataError(problems)
    key = _digest(_FORMAT, config.vocabulary_size, config.joint_vocabulary, config.max_length, corpus.train_digest())
    folder = cache / key[:32]
    if not folder.exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with locked(folder.with_name(f"{folder.name}.lock")):  # one process at a time makes it
                _build(config, corpus, open_raw_corpus(config, cache), folder)
        except OSError as error:
            raise DataError(f"{cache}: cannot be written ({error.strerror}); set $MTNAT_CACHE to a folder with room.") from None
    train, valid, test = TokenStore(folder), _split(corpus, "valid"), _split(corpus, "test")
    return Dataset(
        vocabularies=Vocabularies.load(folder),
        train=train,
        valid=valid,
        test=test,
        fingerprint=_digest(key, valid.sources, valid.references, test.sources, test.references),
        left_out=train.left_out,
    )


def check(config: DataConfig, cache: Path | None = None) -> list[str]:
    """Everything that would make `prepare` fail, found by reading each file once and tokenising nothing.

    Whether the text fills the vocabulary is tried on the first 50,000 pairs; a larger corpus is given the benefit of
    the doubt.
    """
    cache = cache or default_cache()
    corpus = open_corpus(config, cache)
    if problems := corpus.problems():
        return problems
    try:
        _train_vocabularies(config, open_raw_corpus(config, cache), most_pairs=_PAIRS_CHECKED)
    except DataError as error:
        return list(error.problems) if corpus.train_size() <= _PAIRS_CHECKED else []
    return []


def default_cache() -> Path:
    """The folder of prepared and distilled corpora: $MTNAT_CACHE, or else the platform's folder for caches.

    Raises:
        DataError: the user has no home folder, and no other folder is named.
    """
    if named := os.environ.get("MTNAT_CACHE"):
        return Path(named)
    folder = platformdirs.user_cache_path("mtnat", appauthor=False, opinion=False)
    if not folder.is_absolute():
        raise DataError("the cache: has no place, because the user has no home folder; set $MTNAT_CACHE to a folder.")
    return folder


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _build(config: DataConfig, corpus: Corpus, raw: Corpus, folder: Path) -> None:
    """Makes vocabularies of the raw corpus and a token store in a folder beside `folder`, and renames it when it is whole."""
    if folder.exists():  # another process made it while this one waited
        return
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed; nobody else writes here
    try:
        vocabularies = _train_vocabularies(config, raw)
        vocabularies.save(partial)
        write_store(
            partial,
            encoded(corpus.pairs("train"), vocabularies),
            largest_vocabulary=max(len(vocabularies.source), len(vocabularies.target)),
            max_length=config.max_length,
        )
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _train_vocabularies(config: DataConfig, corpus: Corpus, most_pairs: int | None = None) -> Vocabularies:
    """Vocabularies of the whole training text, of an even sample of a large one, or of its first `most_pairs`."""
    size = min(corpus.train_size(), most_pairs or sys.maxsize)
    lines = size * 2 if config.joint_vocabulary else size
    coverage = 0.9998 if lines > LARGE_CORPUS_LINES else 1.0
    every = -(-lines // MOST_TRAINING_LINES)

    def sample() -> Iterator[TextPair]:
        return islice(corpus.pairs("train"), 0, size, every)

    if config.joint_vocabulary:
        both = Vocabulary.train(chain.from_iterable(sample()), config.vocabulary_size, coverage=coverage)
        return Vocabularies(both, both, joint=True)
    source = Vocabulary.train((source for source, _ in sample()), config.vocabulary_size, coverage=coverage)
    target = Vocabulary.train((target for _, target in sample()), config.vocabulary_size, coverage=coverage)
    return Vocabularies(source, target, joint=False)


def encoded(
    pairs: Iterator[TextPair], vocabularies: Vocabularies, *, threads: int | None = None, pairs_at_once: int = _PAIRS_AT_ONCE
) -> Iterator[EncodedPair]:
    """Pairs as piece ids, in order; memory holds a few times `pairs_at_once` of them.

    While sentencepiece's threads encode, this one reads the pairs that come next and the caller uses those before.
    """

    def encode(chunk: list[TextPair]) -> list[EncodedPair]:
        sources, targets = zip(*chunk, strict=True)
        sides = (vocabularies.source.encode(sources, threads=threads), vocabularies.target.encode(targets, threads=threads))
        return list(zip(*sides, strict=True))

    chunks: deque[Future[list[EncodedPair]]] = deque()
    with ThreadPoolExecutor(1) as encoder:
        while chunk := list(islice(pairs, pairs_at_once)):
            chunks.append(encoder.submit(encode, chunk))
            if len(chunks) > _CHUNKS_AHEAD:
                yield from chunks.popleft().result()
        while chunks:
            yield from chunks.popleft().result()


def _split(corpus: Corpus, name: SplitName) -> Split:
    sources, references = zip(*corpus.pairs(name), strict=True)
    return Split(name, sources, references)
