"""Preparation of a corpus: from a `DataConfig` to tokens on disk, once; afterwards from the cache."""

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import platformdirs

from mtnat.data.config import DataConfig, TextName
from mtnat.data.corpus import Corpus, TextPair, open_raw_corpus
from mtnat.data.grammar import SplitName
from mtnat.data.store import EncodedPair, TokenStore, write_store
from mtnat.data.training_text import open_corpus
from mtnat.data.vocabulary import LARGE_CORPUS_LINES, MOST_TRAINING_LINES, Vocabularies, Vocabulary
from mtnat.errors import DataError
from mtnat.files import locked

# Version of the tokens and of their layout on disk, part of every fingerprint. Raise it if a change of this code makes
# other tokens or another layout of the same text and settings.
_FORMAT = 1
_PAIRS_AT_ONCE = 8_192
_CHUNKS_AHEAD = 2
_MOST_PAIRS_CHECKED = 50_000


@dataclass(frozen=True)
class Split:
    """Validation or test text, complete and untokenised."""

    name: str
    sources: tuple[str, ...]
    references: tuple[str, ...]


@dataclass(frozen=True)
class Dataset:
    """A prepared corpus: everything that training and evaluation read."""

    vocabularies: Vocabularies
    train: TokenStore
    """The training text; with `DataConfig.stages` that of the first stage."""
    valid: Split
    test: Split
    fingerprint: str
    """SHA-256 of all text and of the settings of the tokenisation."""
    left_out: int
    """Number of training pairs that were left out: those with an empty side or more than `max_length` tokens."""
    later: tuple[TokenStore, ...] = ()
    """The training text of each later stage."""

    @property
    def stages(self) -> tuple[TokenStore, ...]:
        """The training text of each stage."""
        return (self.train, *self.later)

    @property
    def cache(self) -> Path:
        """The folder of the cache that contains it."""
        return self.train.folder.parent


def prepare(config: DataConfig, cache: Path | None = None) -> Dataset:
    """Tokenises a corpus, or reads it from the cache if the same text was prepared with the same settings before.

    The texts of several stages are tokenised one by one, all with the vocabularies of the corpus's own text. If several
    processes prepare the same data at once, one does the work and the others wait for it.

    Args:
        cache: folder of the cache; by default `default_cache`.

    Raises:
        DataError: if the corpus cannot be read or tokenised, with all problems.
    """
    cache = cache or default_cache()
    texts = _texts(config, cache)
    vocabularies, folders = _prepared(config, texts, cache)
    train, *later = (TokenStore(folders[name]) for name in config.texts)
    corpus = texts[config.texts[0]]
    valid, test = _split(corpus, "valid"), _split(corpus, "test")
    # A training without stages has the same fingerprint as in earlier versions.
    keys = [_key(config, texts[name]) for name in config.texts]
    return Dataset(
        vocabularies=vocabularies,
        train=train,
        valid=valid,
        test=test,
        fingerprint=_digest(keys if config.stages else keys[0], valid.sources, valid.references, test.sources, test.references),
        left_out=sum(TokenStore(folder).left_out for folder in folders.values()),
        later=tuple(later),
    )


def check(config: DataConfig, cache: Path | None = None) -> list[str]:
    """Returns every problem that would make `prepare` fail.

    It reads each file once. A corpus of at most 50,000 pairs is prepared, which tests whether its text supports the vocabulary
    size; a later `prepare` finds it in the cache. A larger corpus, whose preparation takes longer, is not tokenised.
    """
    cache = cache or default_cache()
    try:
        texts = _texts(config, cache)
        if problems := _problems(texts):
            return problems
        if max(corpus.train_size() for corpus in texts.values()) <= _MOST_PAIRS_CHECKED:
            _prepared(config, texts, cache)
    except DataError as error:
        return list(error.problems)
    return []


def _texts(config: DataConfig, cache: Path) -> dict[TextName, Corpus]:
    """Returns the corpus with each of its training texts, by the name of the text."""
    return {name: open_corpus(config, cache, name) for name in config.texts}


def _problems(texts: Mapping[TextName, Corpus]) -> list[str]:
    return list(dict.fromkeys(problem for corpus in texts.values() for problem in corpus.problems()))


def default_cache() -> Path:
    """Returns the folder of prepared and distilled corpora: $MTNAT_CACHE, or else the platform's folder for caches.

    Raises:
        DataError: the user has no home folder, and no other folder is named.
    """
    if named := os.environ.get("MTNAT_CACHE"):
        return Path(named)
    missing = DataError("the cache: has no place, because the user has no home folder; set $MTNAT_CACHE to a folder.")
    try:
        folder = platformdirs.user_cache_path("mtnat", appauthor=False, opinion=False)
    except RuntimeError:  # some versions of platformdirs raise it, others return a path that is not absolute
        raise missing from None
    if not folder.is_absolute():
        raise missing
    return folder


def _key(config: DataConfig, corpus: Corpus) -> str:
    """Returns a hash of the training text and of everything that determines its tokens."""
    return _digest(_FORMAT, config.vocabulary_size, config.joint_vocabulary, config.max_length, corpus.train_digest())


def _prepared(config: DataConfig, texts: Mapping[TextName, Corpus], cache: Path) -> tuple[Vocabularies, dict[TextName, Path]]:
    """Returns the vocabularies, and the folder with the tokens of each text; writes the folders that do not exist.

    Raises:
        DataError: if the corpus cannot be read or tokenised, with all problems.
    """
    if problems := _problems(texts):
        raise DataError(problems)
    folders: dict[TextName, Path] = {}
    vocabularies: Vocabularies | None = None
    for name, corpus in texts.items():
        folder = folders[name] = cache / _key(config, corpus)[:32]
        if not folder.exists():
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                with locked(folder.with_name(f"{folder.name}.lock")):  # only one process at a time writes the folder
                    _build(config, corpus, open_raw_corpus(config, cache), folder, vocabularies)
            except OSError as error:
                raise DataError(
                    f"{cache}: cannot be written ({error.strerror}); set $MTNAT_CACHE to a folder with room."
                ) from None
        vocabularies = vocabularies or Vocabularies.load(folder)
    assert vocabularies is not None
    return vocabularies, folders


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _build(config: DataConfig, corpus: Corpus, raw: Corpus, folder: Path, vocabularies: Vocabularies | None) -> None:
    """Tokenises `corpus` into `folder`, with vocabularies that are trained on the raw corpus if they are not given.

    The work is done in a temporary folder, which is renamed when it is complete. The caller holds the lock.
    """
    if folder.exists():  # another process finished it while this one waited for the lock
        return
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed; the lock keeps others out
    try:
        vocabularies = vocabularies or _train_vocabularies(config, raw)
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


def _train_vocabularies(config: DataConfig, corpus: Corpus) -> Vocabularies:
    """Trains the vocabularies on the training text.

    If the text has more than `MOST_TRAINING_LINES` lines, every n-th pair is used, with n as small as this limit allows.
    """
    size = corpus.train_size()
    lines = size * 2 if config.joint_vocabulary else size
    coverage = 0.9998 if lines > LARGE_CORPUS_LINES else 1.0
    every = -(-lines // MOST_TRAINING_LINES)  # rounded up

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
    """Yields each pair as piece ids, in order. Memory holds a few times `pairs_at_once` pairs.

    While sentencepiece encodes one chunk in threads, this thread reads the next chunk and the caller uses the previous one.
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
