"""The training text of a corpus: its own pairs, or pairs with targets that a model has written; all of them, or a selection.

Validation and test text are always those of the corpus.
"""

import hashlib
from collections.abc import Iterator
from itertools import compress
from pathlib import Path

from mtnat.data.config import DataConfig
from mtnat.data.corpus import Corpus, TextPair, data_root, open_raw_corpus, paired, read_lines, scan
from mtnat.data.grammar import SplitName
from mtnat.errors import DataError


def open_corpus(config: DataConfig, cache: Path) -> Corpus:
    """Returns the corpus that `config` describes, with the targets and the selection that it names; reads nothing yet."""
    corpus = open_raw_corpus(config, cache)
    if config.distilled:
        corpus = RewrittenCorpus(corpus, "distilled", config.distilled, cache)
    elif config.rejuvenated:
        corpus = RewrittenCorpus(corpus, "rejuvenated", config.rejuvenated, cache)
    return SelectedCorpus(corpus, config.selected, cache) if config.selected else corpus


class RewrittenCorpus:
    """A corpus with training targets that a model has written: all of them (sequence-level distillation, Kim and Rush 2016), or
    a part (data rejuvenation, Jiao et al. 2020)."""

    _REMEDIES = {"distilled": "distil this corpus", "rejuvenated": "rejuvenate this corpus"}

    def __init__(self, raw: Corpus, setting: str, file: str, cache: Path) -> None:
        """
        Args:
            setting: the setting of the data that names the file.
            file: the file of the targets, a line for each training source.
        """
        self._raw, self._setting, self._name, self._cache = raw, setting, file, cache
        self._path = data_root() / file

    def problems(self) -> list[str]:
        """Returns the problems of the original corpus, or else those of the file of targets: missing, empty, wrong length."""
        if found := self._raw.problems():
            return found
        try:
            lines = scan(self._path, self._cache).lines
        except DataError as error:
            return [f"data.{self._setting}: {problem}" for problem in error.problems]
        if lines == self.train_size():
            return []
        return [
            f"data.{self._setting}: must have a line for each of the {self.train_size()} training sources; "
            f"got {lines} in {self._name}; {self._REMEDIES[self._setting]}."
        ]

    def pairs(self, split: SplitName) -> Iterator[TextPair]:
        """Yields the pairs of a split; in train, each source has the target that was written for it."""
        if split != "train":
            return self._raw.pairs(split)
        sources = (source for source, _ in self._raw.pairs("train"))
        unequal = f"data.{self._setting}: {self._name} has no line for some training sources."
        return paired(sources, read_lines(self._path), unequal)

    def train_size(self) -> int:
        """Returns the number of training pairs of the original corpus."""
        return self._raw.train_size()

    def train_digest(self) -> str:
        """Returns a SHA-256 that changes with the original training text and with the written targets."""
        both = f"{self._raw.train_digest()} {scan(self._path, self._cache).digest}"
        return hashlib.sha256(both.encode()).hexdigest()


class SelectedCorpus:
    """A corpus of which only some pairs are trained on."""

    def __init__(self, whole: Corpus, file: str, cache: Path) -> None:
        """
        Args:
            file: a line for each training pair of `whole`: 1 for a pair that is used, 0 for one that is left out.
        """
        self._whole, self._name, self._cache = whole, file, cache
        self._path = data_root() / file

    def problems(self) -> list[str]:
        """Returns the problems of the whole corpus, or else those of the selection."""
        if found := self._whole.problems():
            return found
        try:
            lines = scan(self._path, self._cache).lines
            used = self.train_size()
        except DataError as error:
            return [f"data.selected: {problem.removeprefix('data.selected: ')}" for problem in error.problems]
        if lines != self._whole.train_size():
            return [
                f"data.selected: must have a line for each of the {self._whole.train_size()} training pairs; "
                f"got {lines} in {self._name}; select from this corpus."
            ]
        return [] if used else [f"data.selected: {self._name} leaves out every pair; give a file that uses some."]

    def pairs(self, split: SplitName) -> Iterator[TextPair]:
        """Yields the pairs of a split; in train, those that are selected, in the order of the corpus."""
        pairs = self._whole.pairs(split)
        return compress(pairs, self._is_used()) if split == "train" else pairs

    def train_size(self) -> int:
        """Returns the number of selected pairs."""
        return sum(self._is_used())

    def train_digest(self) -> str:
        """Returns a SHA-256 that changes with the training text of the whole corpus and with the selection."""
        both = f"{self._whole.train_digest()} selected {scan(self._path, self._cache).digest}"
        return hashlib.sha256(both.encode()).hexdigest()

    def _is_used(self) -> Iterator[bool]:
        for number, line in enumerate(read_lines(self._path), 1):
            if line not in ("0", "1"):
                raise DataError(f"data.selected: {self._name}, line {number}: must be 0 or 1; got {line[:20]!r}.")
            yield line == "1"
