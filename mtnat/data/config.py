"""The settings of the corpus and of its vocabulary."""

import re
from itertools import accumulate
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mtnat.config import Record
from mtnat.data.grammar import SplitName

FilePair = Annotated[tuple[str, str], Field(strict=False)]
TextName = Literal["raw", "distilled", "rejuvenated", "bidirectional"]
"""Training text: the corpus's own pairs; those with the targets of `DataConfig.distilled`, or of `DataConfig.rejuvenated`; the
distilled pairs together with those of `DataConfig.reverse_distilled`, without duplicates."""
TEXT_FILES: dict[TextName, tuple[str, ...]] = {
    "raw": (),
    "distilled": ("distilled",),
    "rejuvenated": ("rejuvenated",),
    "bidirectional": ("distilled", "reverse_distilled"),
}
"""The settings of the data that name the files of a text."""


class Stage(Record):
    """A part of the training that has its own text."""

    text: TextName
    """The training text: raw, distilled, rejuvenated or bidirectional, which joins distilled and reverse_distilled."""
    share: float = Field(gt=0)
    """Length of the stage relative to the others: stages with the shares 2, 2 and 3 end after 2/7, 4/7 and all of the steps."""


class DataConfig(Record):
    """A parallel corpus and its vocabulary. Either `corpus` or the three pairs of files must be given."""

    corpus: Literal["grammar-en-de", "grammar-de-en"] | None = None
    """The embedded corpus, which is generated. Omit it to use files instead."""
    corpus_size: int = Field(20_000, ge=100, le=10_000_000)
    """Number of training pairs of the embedded corpus."""
    corpus_seed: int = Field(1, ge=0)
    """Seed of the embedded corpus."""
    train: FilePair | None = None
    """Training text, source then target; plain or .gz, one sentence per line, relative to $MTNAT_DATA (default ``data/``)."""
    valid: FilePair | None = None
    """Validation text, on which a study's search is scored."""
    test: FilePair | None = None
    """Test text, scored once, in the confirm phase."""
    distilled: str | None = None
    """Training targets written by a teacher, one line for each training source, which replace the corpus's own; plain or .gz,
    relative to $MTNAT_DATA. The vocabulary is still built from the corpus's own text, so that it is the same with and
    without distillation."""
    reverse_distilled: str | None = None
    """Training sources written by a reverse teacher, which translates from the target to the source language, one line for each
    training target; plain or .gz, relative to $MTNAT_DATA. Only the text bidirectional of `stages` uses them."""
    rejuvenated: str | None = None
    """Training targets of which a model has rewritten a part (data rejuvenation, Jiao et al. 2020), one line for each training
    source; plain or .gz, relative to $MTNAT_DATA. They replace the corpus's own, unless `distilled` does. The vocabulary is
    still built from the corpus's own text."""
    selected: str | None = None
    """The training pairs to train on: a file with a line for each training pair, 1 if it is used and 0 if it is left out; plain
    or .gz, relative to $MTNAT_DATA. The vocabulary is still built from all pairs."""
    stages: Annotated[tuple[Stage, ...], Field(strict=False)] = ()
    """Training text of one stage after the other, such as ``[{text: raw, share: 2}, {text: bidirectional, share: 2}, {text:
    distilled, share: 3}]`` (Ding et al. 2021). Empty, the whole training has the distilled text if `distilled` is given, or
    else the rejuvenated text if `rejuvenated` is given, or else the corpus's own."""
    vocabulary_size: int = Field(32_000, ge=64, le=65_000)
    """Number of pieces of the sentencepiece BPE vocabulary; with separate vocabularies, of each."""
    joint_vocabulary: bool = True
    """Whether source and target share one vocabulary, as in the paper (A.1)."""
    max_length: int = Field(128, ge=4, le=2_000)
    """Most tokens on either side of a training pair. Longer pairs are left out and counted."""

    def name_of(self, split: SplitName) -> str:
        """Returns a readable name of a split: the corpus, or the two files."""
        return self.corpus or " → ".join(getattr(self, split))

    @property
    def languages(self) -> tuple[str, str] | None:
        """Source and target language, from the name of the corpus or of the files; None if they name none or disagree."""
        if self.corpus:
            _, source, target = self.corpus.split("-")
            return source, target
        told = {languages_of(pair) for pair in (self.train, self.valid, self.test) if pair} - {None}
        return told.pop() if len(told) == 1 else None

    @property
    def texts(self) -> tuple[TextName, ...]:
        """The training text of each stage; one text if there are no stages."""
        if self.stages:
            return tuple(stage.text for stage in self.stages)
        return ("distilled" if self.distilled else "rejuvenated" if self.rejuvenated else "raw",)

    @property
    def text(self) -> str:
        """The training text in a few words; raw for the corpus's own pairs."""
        kinds = ", then ".join(self.texts)
        return f"{kinds}, selected pairs" if self.selected else kinds

    @property
    def text_file(self) -> str | None:
        """The file of the training targets; None for the corpus's own."""
        files = [name for text in self.texts for name in TEXT_FILES[text]]
        return getattr(self, files[-1]) if files else None

    def stage_ends(self, steps: int) -> tuple[int, ...]:
        """Returns the number of updates after which each stage ends, the last one with the training.

        Args:
            steps: number of updates of the training, T.
        """
        ends = list(accumulate(stage.share for stage in self.stages)) or [1.0]
        return tuple(round(steps * end / ends[-1]) for end in ends)

    @property
    def reversed(self) -> "DataConfig":
        """The corpus in the opposite direction, with its own text only."""
        kept = {"corpus_size", "corpus_seed", "selected", "vocabulary_size", "joint_vocabulary", "max_length"}
        sides: dict[str, Any] = {
            split: (pair[1], pair[0]) for split in ("train", "valid", "test") if (pair := getattr(self, split))
        }
        if self.corpus:
            sides = {"corpus": "grammar-de-en" if self.corpus == "grammar-en-de" else "grammar-en-de"}
        return DataConfig(**self.model_dump(include=kept & self.model_fields_set), **sides)

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
    """Returns the two languages in file names such as ``train.en.gz`` and ``train.de.gz``, or None if there are none."""
    found = [re.search(r"\.([a-z]{2})(?:\.gz)?$", name) for name in files]
    source, target = (match and match[1] for match in found)
    return (source, target) if source and target and source != target else None
