"""Settings of the corpus and its tokenisation."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mtnat.config import Record
from mtnat.data.grammar import SplitName

FilePair = Annotated[tuple[str, str], Field(strict=False)]


class DataConfig(Record):
    """A parallel corpus and its vocabulary. The corpus is either `corpus` or the three pairs of files."""

    corpus: Literal["grammar-en-de", "grammar-de-en"] | None = None
    """The embedded corpus, generated; leave it out to name files instead."""
    corpus_size: int = Field(20_000, ge=100, le=10_000_000)
    """Training pairs of the embedded corpus."""
    corpus_seed: int = Field(1, ge=0)
    """Seed of the embedded corpus."""
    train: FilePair | None = None
    """Training text, source then target; plain or .gz, one sentence a line, relative to $MTNAT_DATA (default ``data/``)."""
    valid: FilePair | None = None
    """Validation text, on which a study searches."""
    test: FilePair | None = None
    """Test text, scored once, in the confirm phase."""
    distilled: str | None = None
    """Training targets that a teacher has written, a line for each training source, in place of the corpus's own; plain or .gz,
    relative to $MTNAT_DATA. The vocabulary is still made of the corpus's own text, so that it is the same with and without."""
    vocabulary_size: int = Field(32_000, ge=64, le=65_000)
    """Pieces of the sentencepiece BPE vocabulary, or of each side's where they are separate."""
    joint_vocabulary: bool = True
    """One vocabulary for both sides, as in the paper (A.1)."""
    max_length: int = Field(128, ge=4, le=2_000)
    """Training pairs with more tokens than this on a side are left out, and counted."""

    def name_of(self, split: SplitName) -> str:
        """Returns a readable name of a split: the embedded corpus or the two files."""
        return self.corpus or " → ".join(getattr(self, split))

    @property
    def languages(self) -> tuple[str, str] | None:
        """Source and target language, read from the name of the corpus or of the files.

        None if no file name states its language or if the splits disagree; see `languages_of`.
        """
        if self.corpus:
            _, source, target = self.corpus.split("-")
            return source, target
        found = {languages_of(pair) for pair in (self.train, self.valid, self.test) if pair} - {None}
        return found.pop() if len(found) == 1 else None

    @model_validator(mode="after")
    def _one_corpus(self) -> Self:
        files = {"train": self.train, "valid": self.valid, "test": self.test}
        given = [name for name, pair in files.items() if pair]
        if self.corpus and given:
            raise ValueError(f"takes either corpus or files; got corpus: {self.corpus} and {', '.join(given)}")
        if not self.corpus and len(given) < len(files):
            missing = ", ".join(name for name in files if name not in given)
            raise ValueError(f"needs corpus: grammar-en-de, or train, valid and test as pairs of files; missing {missing}")
        return self


def languages_of(files: FilePair) -> tuple[str, str] | None:
    """Returns the language codes at the end of two file names, such as ``train.en.gz`` and ``train.de.gz``.

    Returns None if a name has no two-letter code or if both codes are equal.
    """
    found = [re.search(r"\.([a-z]{2})(?:\.gz)?$", name) for name in files]
    source, target = (match and match[1] for match in found)
    return (source, target) if source and target and source != target else None
